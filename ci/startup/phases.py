"""Start-up: how long each phase took, against budgets and against an earlier report's.

The numbers of an earlier report are of another hour and perhaps of another machine. They are
weak evidence: growth beyond what may pass is INCONCLUSIVE here, and `ci.startup.pairs`
decides it by measuring both in one job.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence

from ci.boot.readiness import NAME as READINESS
from ci.errors import UsageError
from ci.report.model import Case, Phase, Report
from ci.settings.budgets import BudgetSettings
from ci.verdict import Outcome

NAME = "startup"
TOTAL = "start-up"
"""The outer phases together."""
BUDGETED = {
    TOTAL: "start_up",
    "process started": "process_started",
    "port open": "port_open",
    "serving": "serving",
    "first token": "first_token",
    "arguments": "arguments",
    "scheduler": "scheduler",
    "weights": "weights",
    "KV cache": "kv_cache",
    "graph capture": "graph_capture",
    "warm-up": "warm_up",
}
"""The setting that holds the budget of each phase."""

Seconds = Mapping[str, float]
"""Seconds of each phase of one start, or of the median start."""


def seconds_of(phases: Iterable[Phase]) -> dict[str, float]:
    """Return the seconds of each phase by its name: parts first, the whole start last.

    A regression is told by the first phase that shows it, so the narrowest stand first.
    """
    kept = list(phases)
    outer = {phase.name: phase.seconds for phase in kept if not phase.within}
    inner = {phase.name: phase.seconds for phase in kept if phase.within}
    return inner | outer | ({TOTAL: sum(outer.values())} if outer else {})


def earlier(report: Report, named: str) -> dict[str, float]:
    """Return the seconds of each phase of the start that an earlier report tells of.

    Raises:
        UsageError: It tells of none.
    """
    for name in (NAME, READINESS):
        for check in report.checks:
            if check.name == name and check.phases:
                return seconds_of(check.phases)
    raise UsageError(f"{named}: has no check {NAME!r} or {READINESS!r} with phases")


def medians(starts: Sequence[Seconds]) -> dict[str, float]:
    """Return the median seconds of each phase that any of the starts showed."""
    names = dict.fromkeys(name for start in starts for name in start)
    return {
        name: statistics.median(start[name] for start in starts if name in start) for name in names
    }


def timeline(starts: Sequence[Sequence[Phase]], budgets: BudgetSettings) -> tuple[Phase, ...]:
    """Return the phases of the median start: of each its median beginning and seconds."""
    by_name: dict[str, list[Phase]] = {}
    for phase in (phase for start in starts for phase in start):
        by_name.setdefault(phase.name, []).append(phase)
    return tuple(
        Phase(
            name=name,
            start=statistics.median(phase.start for phase in phases),
            seconds=statistics.median(phase.seconds for phase in phases),
            budget=budget_of(name, budgets),
            within=phases[0].within,
        )
        for name, phases in by_name.items()
    )


def budget_of(phase: str, budgets: BudgetSettings) -> float | None:
    """Return the budget of a phase; None where it has none."""
    key = BUDGETED.get(phase)
    value = getattr(budgets, key) if key else None
    return None if value is None else float(value)


def budget_cases(seen: Seconds, starts: int, budgets: BudgetSettings) -> Iterator[Case]:
    """Yield a case for each phase that has a budget: its median seconds against that.

    Args:
        seen: Median seconds of each phase.
        starts: How many starts that is the median of.
        budgets: Most seconds.
    """
    limits = {name: budget_of(name, budgets) for name in [*seen, *BUDGETED]}
    held = {name: limit for name, limit in limits.items() if limit is not None}
    if not held:
        message = "no budget: [budgets] start_up = 60, for one, sets one"
        yield Case(name="budgets", outcome=Outcome.SKIPPED, message=message)
    for name, limit in held.items():
        yield _budget(name, seen.get(name), limit, starts)


def _budget(name: str, seconds: float | None, limit: float, starts: int) -> Case:
    title = f"budget of {name}"
    if seconds is None:
        message = f"the phase was not seen in {starts} starts, so it can't be held to {limit:g} s"
        return Case(name=title, outcome=Outcome.INCONCLUSIVE, message=message)
    return Case(
        name=title,
        outcome=Outcome.PASSED if seconds <= limit else Outcome.FAILED,
        message=f"{name} took {seconds:.2f} s (median of {starts}) of {limit:g} s "
        f"(budgets.{BUDGETED[name]})",
    )


def earlier_cases(seen: Seconds, before: Seconds, budgets: BudgetSettings) -> Iterator[Case]:
    """Yield a case for each phase of an earlier report: whether it has grown since.

    Args:
        seen: Median seconds of each phase.
        before: The earlier report's.
        budgets: How much growth may pass.
    """
    shared = [name for name in seen if name in before]
    if not shared:
        message = "the earlier report has no phase that was seen now"
        yield Case(name="baseline", outcome=Outcome.INCONCLUSIVE, message=message)
    for name in shared:
        yield _grown(name, before[name], seen[name], budgets)


def _grown(name: str, old: float, new: float, budgets: BudgetSettings) -> Case:
    most = budgets.startup_growth * old + 2 * budgets.startup_floor
    told = f"{old:.2f} s in the earlier report, {new:.2f} s now ({new - old:+.2f} s)"
    if new - old <= most:
        return Case(name=name, outcome=Outcome.PASSED, message=told)
    return Case(
        name=name,
        outcome=Outcome.INCONCLUSIVE,
        message=f"{told}: more than {most:.2f} s of growth, and a stored number proves none: "
        "start both here, by --baseline FILE.toml or --baseline-flag",
    )
