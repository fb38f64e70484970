"""The check that a stage's cases and result make, without a run around it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ci.report.model import Case, Check, now
from ci.stages import StageResult, Tell


def check_of(name: str, work: Callable[[Tell], StageResult]) -> Check:
    """Return the check `name` of what `work` tells and returns."""
    cases: list[Case] = []
    found = work(cases.append)
    return Check(
        name=name,
        started=now(),
        seconds=1.0,
        cases=tuple(cases),
        phases=found.phases,
        facts=found.facts,
        figures=found.figures,
        plots=found.plots,
        log=found.log,
    )


def replay(cases: Iterable[Case], result: StageResult) -> Callable[[Tell], StageResult]:
    """Return the work that tells these cases and returns `result`."""

    def work(tell: Tell) -> StageResult:
        for case in cases:
            tell(case)
        return result

    return work
