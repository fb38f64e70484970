"""The results as Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def page(results: dict[str, Any]) -> str:
    """Return results, as `results.json` has them, as a page."""
    machine, steps = results["machine"], results["steps"]
    lines = ["| machine | |", "|---|---|", *(f"| {name} | {of} |" for name, of in machine.items())]
    for name, tell in TELL.items():
        if name not in steps:
            continue
        step = steps[name]
        lines += ["", f"## {name}", "", f"{step['seconds']:.0f} s; {_ended(step)}", ""]
        lines += tell(step) if "error" not in step else ["```", step["error"], "```"]
    return "\n".join(lines) + "\n"


def _ended(step: dict[str, Any]) -> str:
    return "as expected" if step["as_expected"] else "NOT as expected"


def _checks(step: dict[str, Any]) -> Iterator[str]:
    yield "| check | verdict | seconds | cases passed | phases, s |"
    yield "|---|---|---|---|---|"
    for check in step["checks"]:
        phases = ", ".join(f"{name} {seconds}" for name, seconds in check["phases"].items())
        passed = f"{check['passed']} of {check['cases']}"
        yield f"| {check['name']} | {check['verdict']} | {check['seconds']} | {passed} | {phases} |"
    for check in step["checks"]:
        for name, told in check["other_cases"].items():
            yield f"\n- {check['name']}, {name}: {told}"


def _bench(step: dict[str, Any]) -> Iterator[str]:
    yield "Each cell: our client / `sglang.bench_serving`; times in milliseconds."
    yield ""
    names = [name for name in step["loads"][0]["ours"] if name != "completed"]
    yield f"| concurrency | requests | verdict | {' | '.join(names)} |"
    yield "|---" * (len(names) + 3) + "|"
    for row in step["loads"]:
        cells = (f"{_number(row['ours'][name])} / {_number(row['theirs'][name])}" for name in names)
        head = f"| {row['concurrency']} | {row['requests']} | {row['verdict']}"
        yield f"{head} | {' | '.join(cells)} |"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _gate(step: dict[str, Any]) -> Iterator[str]:
    yield f"The slower candidate: {step['slower_by']}"
    yield ""
    yield "| candidate | verdict | seconds | pairs | what was seen |"
    yield "|---|---|---|---|---|"
    for name in ("equal", "slower"):
        found = step[name]
        check = found["checks"][0]
        told = "; ".join(f"{of}: {text}" for of, text in check["other_cases"].items())
        pairs = check["facts"].get("pairs of blocks", "-")
        yield f"| {name} | {found['verdict']} | {found['seconds']:.0f} | {pairs} | {told} |"


def _starts(step: dict[str, Any]) -> Iterator[str]:
    names = dict.fromkeys(name for way in step["ways"] for name in way["phases"])
    yield f"| way | starts | seconds, median | MiB | {' | '.join(names)} |"
    yield "|---" * (len(names) + 4) + "|"
    for way in step["ways"]:
        phases = (_number(way["phases"].get(name)) for name in names)
        head = f"| {way['way']} | {way['starts']} | {way['seconds']} | {way['MiB']}"
        yield f"{head} | {' | '.join(phases)} |"


def _shared(step: dict[str, Any]) -> Iterator[str]:
    daemon = step["daemon"]
    yield f"The daemon: {daemon['seconds']} s, {daemon['MiB']} MiB."
    yield ""
    yield "| weights | first, s | first, MiB | second, s | second, MiB | MiB of both | lives on |"
    yield "|---|---|---|---|---|---|---|"
    for kind in ("own", "shared"):
        of = step[kind]
        cells = (of[place][unit] for place in ("first", "second") for unit in ("seconds", "MiB"))
        told = " | ".join(map(str, (*cells, of["MiB of both"], of["lives on"])))
        yield f"| {kind} | {told} |"


TELL = {
    "boot": _checks,
    "health": _checks,
    "bench": _bench,
    "gate": _gate,
    "gpus": _gate,
    "starts": _starts,
    "shared": _shared,
}
"""How each step is told."""
