"""Verdicts: the ground that errors and reports stand on.

Terms: Argo Rollouts.
"""

from collections.abc import Iterable
from enum import StrEnum


class Verdict(StrEnum):
    """Outcome of a check or a whole report."""

    PASSED = "PASSED"
    FAILED = "FAILED"
    INCONCLUSIVE = "INCONCLUSIVE"
    ERROR = "ERROR"


class Outcome(StrEnum):
    """Outcome of one case: a verdict, or skipped with a reason."""

    PASSED = "PASSED"
    FAILED = "FAILED"
    INCONCLUSIVE = "INCONCLUSIVE"
    ERROR = "ERROR"
    SKIPPED = "SKIPPED"


def judge(outcomes: Iterable[Outcome | Verdict]) -> Verdict:
    """Fold outcomes into one verdict.

    A proven failure outweighs a broken judgement, which outweighs an unsure one.
    Skipped cases count for nothing: where nothing else was seen the verdict is ERROR.
    """
    seen = {outcome.value for outcome in outcomes}
    for verdict in (Verdict.FAILED, Verdict.ERROR, Verdict.INCONCLUSIVE, Verdict.PASSED):
        if verdict.value in seen:
            return verdict
    return Verdict.ERROR
