"""The table of what is true against what the server says, as text and as data."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import groupby

from ci.health.experiments import DEADLY, HARMLESS, Observation
from ci.health.probes import KINDS, PATHS, ProbeAnswer

NAMES = {**PATHS, "request": "a request for one token"}
NOT_YET = "then none"
"""What is said of an answer that had not come when the fault, or the watching, ended."""


def truth(seen: Observation) -> str:
    """Return what is true while the fault lasts."""
    if seen.fault in HARMLESS:
        return f"well: {seen.done} requests of the load were served"
    return "dead" if seen.fault in DEADLY else "no request can finish"


def said(seen: Observation, kind: str, timeout: float) -> str:
    """Return what a probe of a kind said while the fault lasted, and when it alarmed."""
    answers = list(seen.answers.of(kind, seen.hurt, seen.until))
    alarm = seen.answers.alarm(kind, timeout, seen.hurt, seen.until)
    shown = "no alarm" if alarm is None else f"alarm at {max(alarm - seen.hurt, 0):.1f} s"
    return f"{shown}: {', '.join(_runs(answers, seen.until)) or 'not asked'}"


def _runs(answers: Iterable[ProbeAnswer], until: float) -> Iterator[str]:
    for word, group in groupby(answers, lambda one: _word(one, until)):
        several = list(group)
        if word == NOT_YET:
            yield word
            continue
        times = f"{len(several)} x " if len(several) > 1 else ""
        slowest = max(one.seconds for one in several)
        yield f"{times}{word} ({'≤ ' if len(several) > 1 else ''}{slowest:.1f} s)"


def _word(answer: ProbeAnswer, until: float) -> str:
    if answer.pending or answer.start + answer.seconds > until:
        return NOT_YET
    return f"{answer.status} {answer.problem}".strip() if answer.status else answer.problem


def ended(seen: Observation) -> str:
    """Return how the server ended, in words."""
    if seen.exit is None:
        return "runs on"
    code = "" if seen.exit.code is None else f" with {seen.exit.code}"
    left = f", left {len(seen.exit.orphans)} processes" if seen.exit.orphans else ""
    return f"exit{code} at {seen.exit.seconds:.1f} s{left}"


def rows(seen: Iterable[Observation], timeout: float) -> dict[str, str]:
    """Return the table as a report's facts: fault and probe to what was said."""
    found = {}
    for one in seen:
        found[f"{one.fault}: truth"] = f"{truth(one)}; {ended(one)}"
        for kind in KINDS:
            found[f"{one.fault}: {NAMES[kind]}"] = said(one, kind, timeout)
    return found


def markdown(seen: Iterable[Observation], timeout: float) -> str:
    """Return the table in Markdown."""
    head = ["what is done", "what is true", *(NAMES[kind] for kind in KINDS), "process"]
    lines = [head, ["---"] * len(head)]
    for one in seen:
        cells = [said(one, kind, timeout) for kind in KINDS]
        lines.append([one.fault, truth(one), *cells, ended(one)])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def jsonl(seen: Iterable[Observation]) -> str:
    """Return every answer as a line of JSON; times are seconds since the fault."""
    return "".join(
        json.dumps(
            {
                "fault": one.fault,
                "probe": answer.kind,
                "at": round(answer.start - one.hurt, 3),
                "seconds": round(answer.seconds, 3),
                "status": answer.status or None,
                "problem": answer.problem,
            }
        )
        + "\n"
        for one in seen
        for answer in one.answers.all
    )
