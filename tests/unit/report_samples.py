"""Reports as real runs leave them, for the tests of every rendering."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import settings
from hypothesis import strategies as st

from ci.report.model import Case, Check, NotRun, Phase, Report
from ci.verdict import Outcome

unhurried = settings(deadline=None)
"""For properties of a rendering: how long one takes says nothing on a busy machine."""

START = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)
URL = "http://127.0.0.1:30000"
HOSTILE = (
    "<script>alert('x')</script> | `code` \x1b[31mred\x1b[0m \x00 ]]> & \"quoted\" {{ 7 * 7 }}"
)
"""A server's words at their worst: markup of every page, escapes, a NUL."""


def readiness() -> Check:
    """Return a start-up of 26 s with its phases, and the parts of the longest."""
    phases = [
        Phase(name="process started", start=0, seconds=0.3, budget=10),
        Phase(name="port open", start=0.3, seconds=24.0, budget=300),
        Phase(name="imports", start=0.3, seconds=11.6, within="port open"),
        Phase(name="scheduler", start=11.9, seconds=11.3, within="port open"),
        Phase(name="weights", start=23.2, seconds=0.5, within="port open"),
        Phase(name="KV cache", start=23.7, seconds=0.5, within="port open"),
        Phase(name="serving", start=24.3, seconds=1.0, budget=60),
        Phase(name="first token", start=25.3, seconds=0.2, budget=60),
    ]
    names = [phase.name for phase in phases if not phase.within]
    cases = [Case(name=name, outcome=Outcome.PASSED) for name in names]
    return Check(
        name="readiness", started=START, seconds=25.6, cases=tuple(cases), phases=tuple(phases)
    )


def versions(*, label: str = "0.5.23") -> Check:
    """Return a check of versions, with the server's label as asked."""
    right = label == "0.5.23"
    cases = [
        Case(
            name="sglang",
            outcome=Outcome.PASSED if right else Outcome.FAILED,
            message="" if right else f"expected {label}, the server says 0.5.23",
        ),
        Case(name="torch", outcome=Outcome.PASSED),
        Case(name="driver", outcome=Outcome.SKIPPED, message="no GPU here"),
    ]
    facts = {"sglang": "0.5.23", "torch": "2.11.0+cpu", "Python": "3.11.7", "URL": URL}
    return Check(
        name="versions",
        started=START + timedelta(seconds=26),
        seconds=0.4,
        cases=tuple(cases),
        facts=facts,
    )


def smoke(*, failing: bool = False, passing: int = 14) -> Check:
    """Return a smoke check, with three cases that went wrong where `failing`."""
    areas = ("generate", "completions", "chat", "stream", "json_schema", "regex", "stop")
    cases = [
        Case(name=f"{areas[n % 7]}[{n}]", outcome=Outcome.PASSED, seconds=0.2 + n % 7 / 10)
        for n in range(passing)
    ]
    cases.append(Case(name="embeddings", outcome=Outcome.SKIPPED, message="no embedding model"))
    if failing:
        cases += _wrong()
    return Check(
        name="smoke",
        started=START + timedelta(seconds=27),
        seconds=6.2,
        cases=tuple(cases),
        facts={"model": "tiny"},
        log="Traceback (most recent call last):\nRuntimeError: scheduler died\n" if failing else "",
    )


def _wrong() -> list[Case]:
    diff = "- expected: 12 tokens\n+ got:      11 tokens\n\nE   assert 11 == 12"
    body = "x" * 3000
    return [
        Case(
            name="stream equals generate",
            outcome=Outcome.FAILED,
            seconds=0.81,
            message="token 11 is missing from the stream",
            details=diff,
        ),
        Case(name="bad request gets 4xx", outcome=Outcome.FAILED, message=HOSTILE, details=HOSTILE),
        Case(
            name="prefix cache",
            outcome=Outcome.INCONCLUSIVE,
            message="cached_tokens is missing from the answer",
            details=body,
        ),
    ]


def report(*checks: Check, interrupted: str = "") -> Report:
    """Return a report of `checks`, as a host without a Dagger engine leaves it."""
    return Report(
        started=START,
        finished=START + timedelta(seconds=34),
        checks=checks,
        not_run=(
            NotRun(stage="image", needs="a Dagger engine (Docker is enough): dagger call ci"),
            NotRun(stage="publish", needs="a registry: dagger call ci --publish-to REF"),
        ),
        interrupted=interrupted,
        facts={"host": "Linux x86_64, 2 cores", "sglang-ci": "0.1.0", "URL": URL},
    )


def good() -> Report:
    """Return a report that PASSED."""
    return report(readiness(), versions(), smoke())


def bad() -> Report:
    """Return a report that FAILED, with hostile words in it."""
    return report(readiness(), versions(label="0.5.14"), smoke(failing=True))


def not_ready() -> Report:
    """Return a report of a server that spent a phase's budget and was never ready."""
    log = "\n".join(f"[09:30:{n:02d}] INFO loading shard {n} of 96 ..." for n in range(60))
    phases = (
        Phase(name="process started", start=0, seconds=0.3, budget=10),
        Phase(name="port open", start=0.3, seconds=60.2, budget=60),
        Phase(name="imports", start=0.3, seconds=11.6, within="port open"),
        Phase(name="weights", start=11.9, seconds=48.6, within="port open"),
    )
    said = "not ready: phase 'port open' took over 60 s: connection refused"
    cases = (
        Case(name="process started", outcome=Outcome.PASSED, seconds=0.3),
        Case(name="port open", outcome=Outcome.FAILED, seconds=60.2, message=said),
        Case(name="serving", outcome=Outcome.SKIPPED, message="not reached"),
        Case(name="first token", outcome=Outcome.SKIPPED, message="not reached"),
    )
    check = Check(
        name="readiness", started=START, seconds=60.5, cases=cases, phases=phases, log=log
    )
    return report(check)


def empty() -> Report:
    """Return a report of a check that ran no case, in a run cut short by Ctrl-C."""
    nothing = Check(name="smoke", started=START, seconds=0.1)
    return report(readiness(), nothing, interrupted="SIGINT")


def many() -> Report:
    """Return a report with hundreds of cases and words that don't break."""
    long = Case(name="n" * 400, outcome=Outcome.FAILED, message="m" * 4000, details="d" * 90_000)
    crowd = smoke(passing=600)
    return report(crowd, crowd.model_copy(update={"name": "own", "cases": (*crowd.cases, long)}))


TEXT = st.text(st.characters(), max_size=30)
SECONDS = st.floats(0, 1e6)
FACTS = st.dictionaries(TEXT, TEXT, max_size=3)
CASES = st.builds(
    Case,
    name=TEXT,
    outcome=st.sampled_from(Outcome),
    seconds=SECONDS,
    message=TEXT,
    details=TEXT,
)
PHASES = st.builds(
    Phase, name=TEXT, start=SECONDS, seconds=SECONDS, budget=st.none() | SECONDS, within=TEXT
)
CHECKS = st.builds(
    Check,
    name=TEXT,
    started=st.just(START),
    seconds=SECONDS,
    cases=st.lists(CASES, max_size=4).map(tuple),
    phases=st.lists(PHASES, max_size=3).map(tuple),
    facts=FACTS,
    log=TEXT,
)


def any_report() -> st.SearchStrategy[Report]:
    """Return a strategy for reports with any text in any place, half characters included."""
    return st.builds(
        Report,
        title=TEXT,
        started=st.just(START),
        finished=st.just(START + timedelta(seconds=34)),
        checks=st.lists(CHECKS, max_size=3).map(tuple),
        not_run=st.lists(st.builds(NotRun, stage=TEXT, needs=TEXT), max_size=2).map(tuple),
        interrupted=st.just("") | TEXT,
        facts=FACTS,
    )
