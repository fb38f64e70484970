"""The end of a warm-up: on evidence for a steady state, and on nothing else."""

from __future__ import annotations

import math
import random

import pytest

from ci.bench.records import RequestRecord
from ci.bench.steady import LEAST, Drift, drifts, steady, student
from tests.unit.bench_samples import failed, record

pytestmark = pytest.mark.unit


def run(ttfts: list[float], tpot: float = 0.01) -> list[RequestRecord]:
    """Return answers of three tokens, one after the other."""
    return [record(at, at * 1.0, ttft, (tpot, tpot)) for at, ttft in enumerate(ttfts)]


def noisy(count: int, spread: float, seed: int = 1, slope: float = 0.0) -> list[float]:
    """Return TTFTs around 0.1 s with a spread of their logarithm, growing by a slope each."""
    chance = random.Random(seed)  # noqa: S311 - repeatable
    return [0.1 * math.exp(chance.gauss(0, spread) + slope * at) for at in range(count)]


@pytest.mark.parametrize(
    ("share", "freedom", "truth"),
    [
        (0.95, 7, 1.894579),
        (0.95, 14, 1.761310),
        (0.95, 30, 1.697261),
        (0.975, 10, 2.228139),
        (0.95, math.inf, 1.644854),
    ],
)
def test_quantiles_of_student_are_those_of_tables(
    share: float, freedom: float, truth: float
) -> None:
    """A confidence interval is too narrow for few samples."""
    assert student(share, freedom) == pytest.approx(truth, rel=2e-3)


def test_a_flat_run_is_steady() -> None:
    """A warm-up never ends although nothing changes."""
    found = drifts(run(noisy(64, 0.1)))
    assert set(found) == {"TTFT", "TPOT"}
    assert steady(found, 0.2)


@pytest.mark.parametrize("slope", [0.02, -0.02])
def test_a_run_that_drifts_is_not_steady(slope: float) -> None:
    """A queue that grows, or a cache that warms, counts as a steady state."""
    assert not steady(drifts(run(noisy(64, 0.1, slope=slope))), 0.2)


def test_noise_alone_is_no_evidence() -> None:
    """A few answers that look alike by chance end the warm-up."""
    assert not steady(drifts(run(noisy(40, 0.8))), 0.2)
    assert steady(drifts(run(noisy(4000, 0.8))), 0.2)


def test_drifting_servers_pass_as_rarely_as_the_test_says() -> None:
    """A drift at the bound is taken for steady more often than in 5 % of cases."""
    rounds, passed = 400, 0
    for seed in range(rounds):
        flat, late = noisy(48, 0.2, seed), noisy(16, 0.2, seed + rounds)
        passed += steady(drifts(run([*flat, *(1.2 * ttft for ttft in late)])), 0.2)
    assert passed / rounds <= 0.08


def test_what_came_first_does_not_matter() -> None:
    """A slow first answer, which a warm-up is for, keeps it from ever ending."""
    assert steady(drifts(run([5.0] * 20 + noisy(80, 0.1))), 0.2)


def test_answers_count_in_the_order_of_their_ends() -> None:
    """The outcome depends on the order in which a file holds them."""
    made = run(noisy(64, 0.1, slope=0.02))
    shuffled = random.Random(2).sample(made, len(made))  # noqa: S311 - repeatable
    assert drifts(shuffled) == drifts(made)


def test_nothing_is_steady_without_answers() -> None:
    """A server that answers nothing is warm."""
    assert not steady(drifts([]), 0.2)
    assert not steady(drifts([failed(at) for at in range(200)]), 0.2)
    assert not steady(drifts(run(noisy(4 * LEAST - 1, 0.0))), 0.2)


def test_single_tokens_are_judged_by_ttft_alone() -> None:
    """Answers of one token, which have no TPOT, are never warm."""
    made = [record(at, at * 1.0, ttft) for at, ttft in enumerate(noisy(64, 0.05))]
    found = drifts(made)
    assert set(found) == {"TTFT"}
    assert steady(found, 0.2)


def test_a_slower_tpot_alone_is_a_drift() -> None:
    """Only TTFT is looked at."""
    made = run(noisy(48, 0.05)) + [
        record(at, at * 1.0, ttft, (0.02, 0.02)) for at, ttft in enumerate(noisy(16, 0.05), 48)
    ]
    found = drifts(made)
    assert found["TTFT"].within(0.2)
    assert found["TPOT"].factor == pytest.approx(2.0)
    assert not steady(found, 0.2)


def test_answers_without_any_spread_are_steady() -> None:
    """A perfectly even server divides by zero."""
    assert steady(drifts(run([0.1] * 64)), 0.2)


def test_a_drift_reads_well() -> None:
    """A report shows factors that nobody understands."""
    assert str(Drift(1.5, 0.9, 2.5)) == "+50% [-10%, +150%]"
