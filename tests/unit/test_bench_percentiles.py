"""Percentiles: real samples, exact against an independent computation, honest about few samples."""

from __future__ import annotations

import math
import random
import statistics
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ci.bench.percentiles import (
    LEVELS,
    Percentile,
    clustered,
    distribution,
    interval_ranks,
    rank_value,
)
from tests.rare import rare

pytestmark = pytest.mark.unit

samples = st.lists(st.floats(0.000001, 1e6), min_size=1, max_size=200)
TAIL = Fraction(25, 1000)


def exactly(count: int, level: int) -> tuple[int | None, int | None]:
    """Return the interval's ranks by whole numbers and fractions alone, as their definition is."""
    share = Fraction(level, 100)
    mass = [
        math.comb(count, hits) * share**hits * (1 - share) ** (count - hits)
        for hits in range(count + 1)
    ]
    low = [rank for rank in range(1, count + 1) if sum(mass[:rank]) <= TAIL]
    high = [rank for rank in range(1, count + 1) if sum(mass[rank:]) <= TAIL]
    return (max(low) if low else None, min(high) if high else None)


@given(samples, st.sampled_from(LEVELS))
def test_a_percentile_is_the_smallest_sample_that_enough_are_no_larger_than(
    values: list[float], level: int
) -> None:
    """A percentile is interpolated, or is one rank off."""
    enough = [
        value
        for value in values
        if Fraction(sum(other <= value for other in values), len(values)) >= Fraction(level, 100)
    ]
    assert rank_value(sorted(values), level) == min(enough)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("count", rare([1, 2, 58, 59, 60, 5, 10, 20, 100, 299], 5))
def test_intervals_have_the_ranks_that_exact_arithmetic_gives(count: int, level: int) -> None:
    """An interval covers less than it says, or is wider than it has to be."""
    assert interval_ranks(count, level) == exactly(count, level)


def test_few_samples_leave_an_interval_open() -> None:
    """The p99 of twenty requests looks as if its upper bound were known."""
    found = distribution(range(1, 21))
    assert found
    assert found.at(99) == Percentile(99, 20, low=19, high=None)
    assert found.at(50).high == 15


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    """Intervals are computed of the wrong distribution: the truth lies outside too often."""
    chance, hits, rounds = random.Random(7), 0, 400  # noqa: S311 - repeatable
    for _ in range(rounds):
        found = distribution(chance.expovariate(1) for _ in range(80))
        assert found
        at = found.at(90)
        assert at.low is not None
        assert at.high is not None
        hits += at.low <= math.log(10) <= at.high
    assert hits / rounds >= 0.92


@given(samples)
def test_a_distribution_is_what_the_standard_library_computes(values: list[float]) -> None:
    """Mean or deviation is wrong, or depends on the order."""
    found = distribution(values)
    assert found
    assert found == distribution(reversed(values))
    assert found.count == len(values)
    assert (found.least, found.most) == (min(values), max(values))
    assert found.mean == pytest.approx(statistics.fmean(values))
    assert found.deviation == pytest.approx(statistics.pstdev(values), rel=1e-6, abs=1e-9)
    for one in found.percentiles:
        assert one.value in values
        assert one.low is None or one.low <= one.value
        assert one.high is None or one.high >= one.value


def test_there_is_no_distribution_of_nothing() -> None:
    """What wasn't measured is 0, which meets every limit."""
    assert distribution([]) is None
    assert clustered([]) is None
    assert clustered([(), ()]) is None


@settings(max_examples=50)
@given(st.lists(st.lists(st.floats(0.001, 10), max_size=8), min_size=1, max_size=20), st.randoms())
def test_clusters_have_the_percentiles_of_all_samples_in_any_order(
    groups: list[list[float]], chance: random.Random
) -> None:
    """The ITL percentile is one of streams' own percentiles, or depends on their order."""
    flat = [value for group in groups for value in group]
    found, plain = clustered(groups), distribution(flat)
    shuffled = [chance.sample(group, len(group)) for group in groups]
    assert clustered(chance.sample(shuffled, len(shuffled))) == found
    if found is None or plain is None:
        assert not flat
        return
    assert [one.value for one in found.percentiles] == [one.value for one in plain.percentiles]
    for one in found.percentiles:
        assert one.low is None or one.low in flat
        assert one.high is None or one.high in flat


def test_samples_that_move_together_make_an_interval_wider() -> None:
    """Ten thousand gaps of ten slow or fast streams look like ten thousand observations."""
    chance = random.Random(3)  # noqa: S311 - repeatable
    speeds = [chance.lognormvariate(0, 0.5) for _ in range(40)]
    groups = [[speed * chance.uniform(0.99, 1.01) for _ in range(100)] for speed in speeds]
    together, alone = clustered(groups), distribution(one for group in groups for one in group)
    assert together
    assert alone

    def width(at: Percentile) -> float:
        assert at.low is not None
        assert at.high is not None
        return at.high - at.low

    assert width(together.at(50)) > 4 * width(alone.at(50))


def test_one_stream_has_no_interval() -> None:
    """The gaps of a single stream say how another one would be."""
    found = clustered([[0.1, 0.2, 0.3]])
    assert found
    assert found.at(50) == Percentile(50, 0.2)
