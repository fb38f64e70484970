"""Paired starts: a slower phase is named, equal ones pass, and too few never do."""

from __future__ import annotations

import random
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ci.errors import UsageError
from ci.gate.signed_rank import MOST_PAIRS
from ci.startup.pairs import (
    Slack,
    Starts,
    compared,
    decided,
    least_pairs,
    paired_cases,
)
from ci.verdict import Outcome, Verdict
from tests.unit.startup_samples import timed

pytestmark = pytest.mark.unit

SLACK = Slack()


def outcomes(
    pairs: int, slower: Mapping[str, float] | None = None, noise: float = 0.02
) -> dict[str, tuple[Outcome, str]]:
    """Return outcome and message of each phase."""
    found = paired_cases(timed(pairs, slower, noise).pairs, SLACK)
    return {case.name: (case.outcome, case.message) for case in found}


def test_equal_starts_pass() -> None:
    """A server that starts as fast as before fails, or can't pass at all."""
    found = outcomes(12)
    assert list(found) == ["arguments", "scheduler", "port open", "serving", "start-up"]
    assert {outcome for outcome, _ in found.values()} == {Outcome.PASSED}
    assert found["port open"][1].startswith("not slower by 3.")


def test_a_slower_phase_is_failed_and_named_by_its_narrowest_part() -> None:
    """A regression of one phase passes, or blames the whole start."""
    found = outcomes(12, {"scheduler": 6.0})
    failed = [name for name, (outcome, _) in found.items() if outcome is Outcome.FAILED]
    assert failed == ["scheduler", "port open", "start-up"]
    assert found["scheduler"][1].startswith("slower: 11.00 s to 16.98 s, +6.0")
    assert "12 pairs, p = 0.00" in found["scheduler"][1]
    assert found["arguments"][0] is Outcome.PASSED


def test_a_faster_phase_is_said() -> None:
    """An improvement isn't told."""
    assert outcomes(12, {"scheduler": -8.0})["scheduler"][1].startswith("faster: ")


def test_a_phase_may_double_where_that_is_below_the_floor() -> None:
    """A tenth of a second more fails a build."""
    found = outcomes(12, {"first token": 0.3, "weights": 0.1, "serving": 0.3})
    assert "first token" not in found
    assert {outcome for outcome, _ in found.values()} == {Outcome.PASSED}
    assert "slower by" in found["serving"][1]


def test_a_short_phase_that_has_become_long_is_compared() -> None:
    """A phase is left out because the baseline's is short."""
    assert outcomes(12, {"first token": 5.0})["first token"][0] is Outcome.FAILED


@pytest.mark.parametrize("pairs", [1, 4, 8])
def test_too_few_pairs_never_fail_and_say_how_many_are_needed(pairs: int) -> None:
    """A handful of starts blocks a release, or a user doesn't learn what would help."""
    for slower in (0.0, 30.0):
        found = outcomes(pairs, {"scheduler": slower})
        unsure = [text for outcome, text in found.values() if outcome is Outcome.INCONCLUSIVE]
        assert Outcome.FAILED not in {outcome for outcome, _ in found.values()}
        assert unsure or pairs == 8
        assert all("at least 9 pairs are needed" in text for text in unsure)


def test_four_pairs_can_pass_nothing() -> None:
    """A pass is the absence of evidence."""
    assert {outcome for outcome, _ in outcomes(4).values()} == {Outcome.INCONCLUSIVE}


@pytest.mark.long
def test_noise_is_inconclusive_and_told() -> None:
    """Noise reads as a pass, or nobody learns what it would take."""
    found = outcomes(12, noise=0.5)
    texts = [text for outcome, text in found.values() if outcome is Outcome.INCONCLUSIVE]
    assert texts
    assert all("pairs would tell" in text or "don't tell" in text for text in texts)


@pytest.mark.parametrize("pairs", [(), (Starts({}, {}),), (Starts({"a": 9}, {"b": 9}),)])
def test_nothing_in_common_is_inconclusive(pairs: tuple[Starts, ...]) -> None:
    """A comparison of nothing passes, or ends in a traceback."""
    assert [case.outcome for case in paired_cases(pairs, SLACK)] == [Outcome.INCONCLUSIVE]


def test_a_phase_that_one_start_lacks_is_not_compared() -> None:
    """A phase is compared over other pairs than the rest."""
    pairs = (Starts({"a": 9, "b": 9}, {"a": 9, "b": 9}), Starts({"a": 9, "b": 9}, {"a": 9}))
    assert compared(pairs, SLACK) == ("a",)


def test_as_many_pairs_as_the_test_bears() -> None:
    """Too many pairs end in a traceback."""
    pair = Starts({"a": 9}, {"a": 9})
    assert paired_cases([pair] * 40, SLACK)[0].outcome is Outcome.PASSED
    with pytest.raises(UsageError, match="at most 512"):
        paired_cases([pair] * (MOST_PAIRS + 1), SLACK)


@given(st.floats(0, 1e4), st.floats(0, 1e4), st.floats(0.01, 10), st.floats(0.01, 2))
def test_swapped_sides_turn_the_sign_and_the_floor_is_the_least_effect(
    old: float, new: float, floor: float, growth: float
) -> None:
    """The test isn't exact, or a change below the floor counts."""
    slack = Slack(growth, floor)
    assert slack.difference(old, new) == pytest.approx(-slack.difference(new, old))
    rule = slack.rule(("a",))
    edge = slack.difference(old, old + growth / 2 * old + floor)
    assert edge == pytest.approx(rule.threshold)
    assert slack.difference(old, old + growth * old + 2 * floor) == pytest.approx(rule.margin)


def test_equal_servers_are_seldom_called_slower() -> None:
    """False alarms are more frequent than was promised."""
    slack = Slack(growth=0.0002, floor=0.0001, false_alarm=0.1)
    dice = random.Random(3)  # noqa: S311
    runs = 300
    alarms = 0
    for _ in range(runs):
        pairs = [
            Starts(*({name: dice.lognormvariate(2, 0.1) for name in "abcd"} for _ in range(2)))
            for _ in range(least_pairs(slack.rule(("a", "b", "c", "d"))) + 3)
        ]
        decision = decided(pairs, slack)
        alarms += decision is not None and decision.verdict is Verdict.FAILED
    assert alarms <= 0.1 * runs + 3 * (0.09 * runs) ** 0.5
