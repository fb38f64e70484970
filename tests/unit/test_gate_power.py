"""How often the gate errs on invented noise: its promises, held by seeded simulation.

The seeds make each figure repeatable; the bounds leave room for the number of runs.
"""

from __future__ import annotations

import math
import random
import statistics
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from benchmarks.noise import SyntheticNoise
from ci.gate.noise import Noise, recorded, residual
from ci.gate.power import SIZES, interval, need, rates, slowed
from ci.gate.rule import METRICS, Rule
from ci.gate.sequential import Schedule
from ci.gate.signed_rank import Differences
from tests.rare import rare

pytestmark = pytest.mark.unit

RUNS = 400
RULE = Rule()
LOOKS = Schedule().looks(RULE)
STRICT = Rule(least=1e-9)
"""A least effect so small that the test alone keeps false alarms rare."""
STRICT_LOOKS = Schedule().looks(STRICT)
LENIENT = Rule(least=0.0999)
"""A least effect so large that the test alone keeps a slow candidate from passing."""
NOISES = {
    "plain": SyntheticNoise(tails=100, drift=0, spikes=0),
    "heavy tails": SyntheticNoise(tails=2.2),
    "drifting": SyntheticNoise(drift=0.5, memory=0.98),
    "stalling": SyntheticNoise(spikes=0.2, spike=2.0),
    "wild": SyntheticNoise(spread=dict.fromkeys(METRICS, 0.5)),
}


def most(rate: float) -> float:
    """Return the count that a true rate exceeds once in ten thousand times."""
    return RUNS * rate + 3.7 * math.sqrt(RUNS * rate * (1 - rate))


@pytest.mark.parametrize("kind", rare(NOISES, 2))
def test_false_alarms_stay_below_their_rate(kind: str) -> None:
    """A candidate that is no slower fails more often than the rule allows."""
    found = rates(NOISES[kind], STRICT, STRICT_LOOKS, runs=RUNS)
    assert found.failed <= most(STRICT.false_alarm)


@pytest.mark.parametrize("kind", rare(NOISES, 2))
def test_a_slow_candidate_seldom_passes(kind: str) -> None:
    """A candidate that is slower by what must not pass gets past more often than allowed."""
    slow = {"tpot": RULE.slowdown}
    found = rates(NOISES[kind], LENIENT, Schedule().looks(LENIENT), slower=slow, runs=RUNS)
    assert found.passed <= most(RULE.miss)


def test_the_tests_above_can_fail() -> None:
    """The noise is so tame that any gate would hold."""
    greedy = tuple(replace(look, alarm=0.05, miss=0.4) for look in LOOKS)
    assert rates(NOISES["plain"], STRICT, greedy, runs=RUNS).failed > most(STRICT.false_alarm)
    slow = {"tpot": RULE.slowdown}
    passed = rates(NOISES["wild"], LENIENT, greedy, slower=slow, runs=RUNS).passed
    assert passed > most(RULE.miss)


@pytest.mark.long
def test_power_and_length_on_typical_noise() -> None:
    """The gate finds too little, or takes all its pairs for what half of them show."""
    equal = rates(SyntheticNoise(), RULE, LOOKS, runs=RUNS)
    slow = rates(SyntheticNoise(), RULE, LOOKS, slower=RULE.slowdown, runs=RUNS)
    assert equal.passed > 0.95 * RUNS
    assert slow.failed > 0.95 * RUNS
    assert equal.pairs < 18
    assert slow.pairs < 20


@pytest.mark.long
def test_a_larger_slow_down_is_found_more_often() -> None:
    """Power falls where it must grow."""
    found = [
        rates(SyntheticNoise(), RULE, LOOKS, slower=slower, runs=RUNS // 2).failed
        for slower in (0.0, 0.05, 0.1, 0.2)
    ]
    assert found == sorted(found)
    assert found[-1] > found[0]


def test_a_slow_down_is_a_factor_on_the_named_metrics() -> None:
    """Another slow-down is simulated than the one that is named."""
    equal = dict.fromkeys(METRICS, (0.0, 0.3))
    everywhere, alone = slowed(equal, RULE, 0.1), slowed(equal, RULE, {"tpot": -0.5})
    assert [math.exp(values[0]) for values in everywhere.values()] == pytest.approx([1.1] * 3)
    assert [math.exp(alone[metric][1] - 0.3) for metric in METRICS] == pytest.approx([1, 0.5, 1])


def test_equal_seeds_give_equal_rates() -> None:
    """A figure can't be repeated."""
    one, same, other = (
        rates(SyntheticNoise(), RULE, LOOKS, runs=50, seed=seed) for seed in (1, 1, 2)
    )
    assert one == same
    assert one != other


def differences(pairs: int, **noise: Any) -> dict[str, list[float]]:
    """Return one run of invented noise."""
    return SyntheticNoise(**noise)(random.Random(7), pairs)  # noqa: S311


@pytest.mark.parametrize("slower", rare([0.07, 0.0, 0.5]))
def test_the_needed_pairs_are_enough_and_know_only_the_noise(slower: float) -> None:
    """A user is told a number of pairs that doesn't do, or that depends on the effect."""
    seen = differences(24)
    moved = {
        metric: [value + math.log1p(slower) for value in values] for metric, values in seen.items()
    }
    needed = need(moved, RULE)
    assert needed == need(seen, RULE)
    assert needed.pairs is not None
    looks = Schedule(needed.pairs, repeat=False).looks(RULE)
    slow = rates(residual(seen), RULE, looks, slower=0.1, runs=RUNS, seed=99)
    assert slow.failed > 0.9 * RUNS


@pytest.mark.long
def test_more_noise_needs_more_pairs() -> None:
    """What would be needed is not computed from the noise."""
    spread = dict.fromkeys(METRICS, 0.05)
    quiet = need(differences(24, spread=spread, spikes=0), RULE).pairs
    loud = need(differences(24, spread=dict.fromkeys(METRICS, 0.15)), RULE).pairs
    assert quiet is not None
    assert loud is not None
    assert quiet < loud
    hopeless = need(differences(24, spread=dict.fromkeys(METRICS, 3.0)), RULE, runs=50)
    assert hopeless.pairs is None
    assert hopeless.tried == SIZES[-1]


def test_one_pair_tells_no_noise() -> None:
    """A run that was cut after one pair crashes when it says what it would need."""
    assert need({metric: [0.1] for metric in METRICS}, RULE, runs=10).pairs


@pytest.mark.parametrize("source", [recorded, residual])
def test_resampled_noise_is_that_of_the_record(source: Any) -> None:
    """Resampling changes the size of the noise, or pulls the metrics of a pair apart."""
    seen = differences(40)
    noise: Noise = source(seen)
    drawn = noise(random.Random(1), 4000)  # noqa: S311
    for metric, values in seen.items():
        sizes = [abs(value) for value in values]
        got = [abs(value) for value in drawn[metric]]
        assert statistics.median(got) == pytest.approx(statistics.median(sizes), rel=0.3)
        assert abs(Differences(drawn[metric][:400]).estimate) < 0.03
    pairs = {
        (round(abs(a), 9), round(abs(b), 9)) for a, b in zip(*list(drawn.values())[:2], strict=True)
    }
    assert len(pairs) <= 40


def test_a_record_is_drawn_in_its_own_order() -> None:
    """The autocorrelation of noise is lost, and error rates look better than they are."""
    noise = recorded({"ttft": [float(at) for at in range(1, 11)]})
    drawn = noise(random.Random(3), 25)["ttft"]  # noqa: S311
    steps = {abs(later) - abs(earlier) for earlier, later in pairwise(drawn)}
    assert steps == {1.0, -9.0}
    assert 5 < sum(value > 0 for value in drawn) < 20


def test_two_starts_of_one_image_may_differ_for_good() -> None:
    """The simulation can't show what the gate doesn't promise."""
    noise = SyntheticNoise(spread={"ttft": 0.01}, instance=0.2, spikes=0, drift=0)
    dice = random.Random(2)  # noqa: S311
    runs = [noise(dice, 24)["ttft"] for _ in range(20)]
    assert statistics.stdev(statistics.mean(run) for run in runs) > 0.1


def test_wilsons_interval_against_published_values() -> None:
    """A rate without errors is shown as certainly zero, or an interval is another one's."""
    assert interval(0, 100) == pytest.approx((0, 0.0370), abs=1e-4)
    assert interval(10, 100) == pytest.approx((0.0552, 0.1744), abs=1e-4)
    assert interval(100, 100) == pytest.approx((0.9630, 1), abs=1e-4)
    assert interval(0, 0) == (0, 1)
