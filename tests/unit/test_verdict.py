"""Verdicts: how outcomes fold into one."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ci.verdict import Outcome, Verdict, judge

pytestmark = pytest.mark.unit

OUTCOMES = st.lists(st.sampled_from(Outcome))


@pytest.mark.parametrize(
    ("outcomes", "verdict"),
    [
        ([], Verdict.ERROR),
        ([Outcome.SKIPPED], Verdict.ERROR),
        ([Outcome.PASSED, Outcome.SKIPPED], Verdict.PASSED),
        ([Outcome.PASSED, Outcome.INCONCLUSIVE], Verdict.INCONCLUSIVE),
        ([Outcome.INCONCLUSIVE, Outcome.ERROR], Verdict.ERROR),
        ([Outcome.ERROR, Outcome.FAILED], Verdict.FAILED),
    ],
)
def test_the_worst_decides_and_nothing_is_no_pass(
    outcomes: list[Outcome], verdict: Verdict
) -> None:
    """A run that saw nothing passes, or a proven failure hides behind a broken check."""
    assert judge(outcomes) is verdict


@given(OUTCOMES, st.randoms(use_true_random=False))
def test_order_and_repetition_change_nothing(outcomes: list[Outcome], random: Random) -> None:
    """The same cases get another verdict when they end in another order."""
    shuffled = outcomes * 2
    random.shuffle(shuffled)
    assert judge(shuffled) is judge(outcomes)


@given(OUTCOMES)
def test_passed_needs_a_pass_and_nothing_bad(outcomes: list[Outcome]) -> None:
    """A verdict says more than what was seen."""
    clean = set(outcomes) <= {Outcome.PASSED, Outcome.SKIPPED} and Outcome.PASSED in outcomes
    assert (judge(outcomes) is Verdict.PASSED) == clean


@given(st.lists(OUTCOMES, min_size=1))
def test_folding_folds_agrees_with_folding_all(groups: list[list[Outcome]]) -> None:
    """A report's verdict differs from that of its cases."""
    judged = [group for group in groups if set(group) - {Outcome.SKIPPED}]
    if len(judged) == len(groups):
        every = [outcome for group in groups for outcome in group]
        assert judge(judge(group) for group in groups) is judge(every)


def test_every_verdict_is_an_outcome() -> None:
    """A check's verdict can't be told in the words of its cases."""
    assert {verdict.value for verdict in Verdict} == set(Outcome) - {Outcome.SKIPPED}
