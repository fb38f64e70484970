"""Fresh starts in the gate: what a round tells of an image, and how often that is wrong."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.noise import StartNoise, SyntheticNoise, TwoModes
from ci.errors import UsageError
from ci.gate.decide import decide, decide_rounds
from ci.gate.noise import Noise
from ci.gate.power import Rates, round_rates
from ci.gate.rounds import RoundDifferences
from ci.gate.rule import METRICS, Rule
from ci.gate.sequential import LEAST_ROUNDS, Look, Schedule
from ci.gate.signed_rank import Differences
from ci.gate.starts import ASSUMED, SMALLEST, StartEffect, assumed, measured
from ci.gate.student import beyond, quantile
from ci.verdict import Verdict
from tests.rare import rare

pytestmark = pytest.mark.unit

RUNS = 300
RULE = Rule()
STRICT = Rule(least=1e-9)
"""A least effect so small that the test alone keeps false alarms rare."""
ROUNDS = Schedule(rounds=8)
KNOWN = StartEffect(dict.fromkeys(METRICS, 0.02), 12.0, "measured")
QUIET = SyntheticNoise(spread=dict.fromkeys(METRICS, 0.02), spikes=0, drift=0)
NOISES: dict[str, Noise] = {
    "typical": SyntheticNoise(),
    "two modes": TwoModes(),
    "heavy tails": SyntheticNoise(tails=2.2),
    "drifting": SyntheticNoise(drift=0.5, memory=0.98),
}
values = st.lists(st.floats(-0.3, 0.3), min_size=6, max_size=24)


def simulated(
    noise: StartNoise, slower: float = 0.0, *, rule: Rule = RULE, effect: StartEffect = KNOWN
) -> Rates:
    """Return how comparisons in rounds end."""
    starts = partial(noise.starts, slower=slower)
    return round_rates(starts, rule, ROUNDS.looks(rule, effect), effect, runs=RUNS)


def most(rate: float) -> float:
    """Return the count that a true rate exceeds once in ten thousand times."""
    return RUNS * rate + 3.7 * math.sqrt(RUNS * rate * (1 - rate))


@pytest.mark.parametrize("kind", rare(NOISES, 2))
@pytest.mark.parametrize("tails", rare([0.0, 4.0]))
@pytest.mark.long
def test_two_starts_of_one_image_seldom_fail(kind: str, tails: float) -> None:
    """A difference that lives as long as a process does is called the image's."""
    noise = StartNoise(NOISES[kind], KNOWN.spread, tails=tails, place=0.02)
    assert simulated(noise, rule=STRICT).failed <= most(STRICT.false_alarm)


@pytest.mark.parametrize("kind", rare(NOISES, 2))
@pytest.mark.long
def test_a_slow_image_seldom_passes(kind: str) -> None:
    """A fast start of a slow image lets it past."""
    noise = StartNoise(NOISES[kind], KNOWN.spread)
    assert simulated(noise, RULE.slowdown).passed <= most(RULE.miss)


@pytest.mark.long
def test_a_slow_image_is_found_and_an_equal_one_ends_soon() -> None:
    """The gate finds nothing any more, or every comparison takes all its rounds."""
    noise = StartNoise(NOISES["typical"], KNOWN.spread)
    equal, slow = simulated(noise), simulated(noise, RULE.slowdown)
    assert slow.failed >= RULE.power * RUNS
    assert equal.passed >= RULE.power * RUNS
    assert equal.rounds < LEAST_ROUNDS
    certain = StartNoise(QUIET, dict.fromkeys(METRICS, 0.003))
    known = StartEffect(certain.effect, 12.0, "measured")
    assert simulated(certain, effect=known).rounds < 1.1


@pytest.mark.long
@pytest.mark.parametrize("slower", rare([0.0, 0.1]))
def test_starts_that_differ_more_than_is_known(slower: float) -> None:
    """A machine that has become noisier since it was measured makes the gate err freely."""
    noise = StartNoise(NOISES["typical"], dict.fromkeys(METRICS, 2 * ASSUMED))
    found = simulated(noise, slower, effect=assumed(METRICS))
    assert found.failed <= 0.05 * RUNS or slower
    assert found.passed <= 0.10 * RUNS or not slower


def test_the_tests_above_can_fail() -> None:
    """Starts differ so little that any gate would hold."""
    noise = StartNoise(NOISES["typical"], dict.fromkeys(METRICS, 0.04))
    ignored = StartEffect(dict.fromkeys(METRICS, SMALLEST), 1e6, "ignored")
    looks = (Look(24, 0.01, 0.05),)
    found = round_rates(noise.starts, STRICT, looks, ignored, runs=RUNS)
    assert found.failed > most(STRICT.false_alarm)


def test_one_round_never_fails_where_more_can_be_had() -> None:
    """An image FAILED by one unlucky start."""
    looks = ROUNDS.looks(RULE, KNOWN)
    assert all(not look.alarm for look in looks if look.rounds < LEAST_ROUNDS)
    assert all(look.alarm for look in looks if look.rounds >= LEAST_ROUNDS)
    assert max(look.rounds for look in looks) == 8


@given(st.sampled_from((0.0, 0.002, 0.02, 0.05, 0.5)), st.integers(9, 60), st.integers(3, 12))
@settings(deadline=None, max_examples=40)
def test_rounds_spend_no_more_than_the_rates(spread: float, pairs: int, rounds: int) -> None:
    """Looking after each round makes errors likelier than the rule allows."""
    effect = StartEffect(dict.fromkeys(METRICS, spread), 8.0, "known")
    looks = Schedule(pairs, rounds=rounds).looks(RULE, effect)
    assert sum(look.alarm for look in looks) == pytest.approx(RULE.false_alarm)
    assert 0 <= sum(look.miss for look in looks) <= RULE.miss * (1 + 1e-9)


def test_too_few_pairs_are_refused_in_rounds_too() -> None:
    """Rounds of a pair each are measured that can't show anything."""
    with pytest.raises(UsageError, match="can't show anything"):
        Schedule(3, rounds=8).looks(RULE)
    assert not Schedule(rounds=2).restarts
    assert not Schedule(rounds=8, repeat=False).restarts


@given(st.lists(values, min_size=1, max_size=5), st.floats(-0.2, 0.2))
@settings(deadline=None, max_examples=60)
def test_bounds_and_p_values_agree(rounds: list[list[float]], shift: float) -> None:
    """A report's bounds contradict its verdict."""
    found = RoundDifferences(rounds, 0.02, 8.0)
    low, high = found.bounds(0.025)
    if abs(shift - high) > 1e-9:
        assert (found.p_below(shift) <= 0.025) == (shift > high)
    if abs(shift - low) > 1e-9:
        assert (found.p_above(shift) <= 0.025) == (shift < low)


@given(values, st.floats(0.002, 0.2))
@settings(deadline=None, max_examples=60)
def test_one_round_is_never_surer_than_its_own_ranks(pairs: list[float], apart: float) -> None:
    """What starts differ by makes a verdict on two processes easier."""
    one, ranks = RoundDifferences([pairs], apart, 8.0), Differences(pairs)
    assert one.p_above() >= ranks.p_above()
    assert one.bounds(0.05)[1] >= ranks.bounds(0.05)[1]
    assert one.estimate == ranks.estimate


@given(st.lists(values, min_size=1, max_size=4))
@settings(deadline=None, max_examples=40)
def test_swapping_the_sides_turns_rounds_round(rounds: list[list[float]]) -> None:
    """It matters which of two images is called the baseline."""
    one = RoundDifferences(rounds, 0.02, 8.0)
    other = RoundDifferences([[-value for value in values] for values in rounds], 0.02, 8.0)
    assert other.p_above() == pytest.approx(one.p_below(), abs=1e-9)
    assert other.estimate == pytest.approx(-one.estimate, abs=1e-12)


def test_pairs_that_resemble_their_neighbours_widen_the_bounds() -> None:
    """Blocks in one slow mode count as so many independent ones."""
    dice = random.Random(5)  # noqa: S311
    drawn = [dice.gauss(0, 0.05) for _ in range(24)]
    sorted_ones = RoundDifferences([sorted(drawn)], 0.002, 8.0)
    mixed = RoundDifferences([drawn], 0.002, 8.0)
    assert sorted_ones.alike > 0.7 > mixed.alike
    assert sorted_ones.error > 2 * mixed.error


def test_rounds_that_lie_far_apart_widen_the_bounds() -> None:
    """What is known beforehand is believed against what the rounds themselves show."""
    near = RoundDifferences([[at + 0.001 * i for i in range(12)] for at in (0, 0.01)], 0.01, 50)
    far = RoundDifferences([[at + 0.001 * i for i in range(12)] for at in (-0.2, 0.2)], 0.01, 50)
    assert near.error < 0.02
    assert far.error > 0.15


def test_too_few_pairs_of_a_round_show_nothing() -> None:
    """A round of two pairs has no noise of its own, and looks certain."""
    few = RoundDifferences([[0.2, 0.2]], 0.01, 8.0)
    assert few.p_above() == 1
    assert few.bounds(0.05) == (-math.inf, math.inf)


def test_a_verdict_on_an_image_is_not_one_on_two_processes() -> None:
    """Two processes that surely differ by 6 % make an image FAILED."""
    seen = tuple(math.log1p(0.06) + 0.001 * at for at in range(-12, 12))
    columns = dict.fromkeys(METRICS, seen)
    look = Look(24, 0.01, 0.05)
    assert decide(columns, RULE, look).verdict is Verdict.FAILED
    found = decide_rounds([columns], RULE, look, KNOWN)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.suspicious(RULE)
    five = decide_rounds([columns] * 5, RULE, look, KNOWN)
    assert five.verdict is Verdict.FAILED


@pytest.mark.parametrize(
    ("slower", "expected"),
    [
        (0.1, Verdict.PASSED),
        (0.18, Verdict.INCONCLUSIVE),
        (0.22, Verdict.INCONCLUSIVE),
        (0.3, Verdict.FAILED),
    ],
)
def test_what_is_allowed_holds_in_rounds_too(slower: float, expected: Verdict) -> None:
    """An image fails for a slow-down that is allowed, as it surely isn't 0."""
    seen = tuple(math.log1p(slower) + 0.001 * at for at in range(-12, 12))
    rounds, look = [dict.fromkeys(METRICS, seen)] * 5, Look(24, 0.01, 0.05, 5)
    found = decide_rounds(rounds, Rule(slowdown=0.2, least=0.2, allowed=0.2), look, KNOWN)
    assert found.verdict is expected
    assert all((one.p_slower <= 0.01) == (expected is Verdict.FAILED) for one in found.findings)
    if slower > 0.2:
        wide = Rule(slowdown=0.4, least=0.2)
        assert decide_rounds(rounds, wide, look, KNOWN).verdict is Verdict.FAILED


def test_what_twins_show_of_a_start() -> None:
    """The effect of a start is told too small, so that twins fail."""
    dice = random.Random(3)  # noqa: S311
    noise = StartNoise(QUIET, {**dict.fromkeys(METRICS, 0.03), "tpot": 0.0})
    twins = [noise.starts(dice)(12) for _ in range(1000)]
    found = measured(twins, METRICS, "here")
    assert found.spread["ttft"] == pytest.approx(0.03, rel=0.1)
    assert SMALLEST <= found.spread["tpot"] < 0.008
    assert found.apart("ttft") == pytest.approx(math.sqrt(2) * found.spread["ttft"])
    assert found.freedom == 1000
    with pytest.raises(ValueError, match="no twin"):
        measured([], METRICS, "here")


@pytest.mark.parametrize(
    ("freedom", "level", "expected"),
    [(1, 0.025, 12.7062), (2, 0.001, 22.3271), (8, 0.05, 1.8595), (30, 0.001, 3.3852)],
)
def test_students_t_against_published_values(freedom: float, level: float, expected: float) -> None:
    """Every bound on an image is too narrow."""
    assert quantile(level, freedom) == pytest.approx(expected, abs=1e-4)
    assert beyond(expected, freedom) == pytest.approx(level, rel=1e-3)
    assert beyond(-expected, freedom) == pytest.approx(1 - level, rel=1e-3)


@given(st.floats(0.5, 1e5), st.floats(0, 50))
@settings(deadline=None)
def test_students_t_is_a_chance(freedom: float, t: float) -> None:
    """The continued fraction fails to converge, or a p-value lies outside of 0 to 1."""
    chance: Callable[[float], float] = partial(beyond, freedom=freedom)
    assert 0 <= chance(t) <= 0.5 <= chance(-t) <= 1
    assert chance(t + 0.1) <= chance(t) + 1e-12
