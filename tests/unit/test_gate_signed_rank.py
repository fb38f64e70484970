"""The gate's test, bounds and estimate, against brute force over every flip of the signs."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from itertools import combinations_with_replacement, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ci.gate.signed_rank import MOST_PAIRS, Differences, critical, tail

pytestmark = pytest.mark.unit

few = st.lists(st.integers(-4, 4).map(float), min_size=1, max_size=7)
"""Differences with many ties and zeros."""
logarithms = st.floats(-10, 10).map(lambda value: round(value, 9))
"""Halves of these are exact, which those of the very smallest numbers aren't."""
values = st.lists(logarithms, min_size=1, max_size=30)
LEVELS = (0.2, 0.05, 0.01, 0.003)


def rank_sum(flipped: tuple[float, ...]) -> int:
    """Return the sum of the ranks of the positive values, none of which are tied."""
    by_size = sorted(flipped, key=abs)
    return sum(rank for rank, value in enumerate(by_size, 1) if value > 0)


def flips(sizes: list[float]) -> list[tuple[float, ...]]:
    """Return `sizes` with every choice of signs."""
    signs = product((1, -1), repeat=len(sizes))
    return [tuple(s * abs(v) for s, v in zip(choice, sizes, strict=True)) for choice in signs]


@pytest.mark.parametrize("pairs", [*range(12), 15])
def test_the_tail_is_that_of_every_subset(pairs: int) -> None:
    """The packed product loses a carry, or is off by one."""
    subsets = product((0, 1), repeat=pairs)
    sums = Counter(sum(k for k, taken in enumerate(subset, 1) if taken) for subset in subsets)
    largest = pairs * (pairs + 1) // 2
    brute = [sum(sums[s] for s in range(t, largest + 1)) / 2**pairs for t in range(largest + 1)]
    assert tail(pairs) == (*brute, 0.0)


@pytest.mark.parametrize("pairs", [24, 60, 255, 256])
def test_the_tail_of_many_pairs_is_a_distribution(pairs: int) -> None:
    """Fields of the packed product overflow where there are many pairs."""
    chances = tail(pairs)
    largest = pairs * (pairs + 1) // 2
    assert chances[0] == 1
    assert chances[largest] == 2.0**-pairs
    assert list(chances) == sorted(chances, reverse=True)
    middle = largest // 2
    assert chances[middle + 1] + chances[largest - middle] == pytest.approx(1)
    deviation = math.sqrt(pairs * (pairs + 1) * (2 * pairs + 1) / 24)
    at = round(largest / 2 + 2 * deviation)
    normal = 1 - statistics.NormalDist(largest / 2, deviation).cdf(at - 0.5)
    assert chances[at] == pytest.approx(normal, rel=0.05)


def test_too_many_pairs_are_refused() -> None:
    """A typing error computes for minutes."""
    with pytest.raises(ValueError, match="possible"):
        tail(MOST_PAIRS + 1)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=8, unique=True), st.data())
@settings(deadline=None, max_examples=50)
def test_p_is_the_share_of_flips_that_are_as_extreme(sizes: list[int], data: st.DataObject) -> None:
    """The test is not the permutation test that it is said to be."""
    every = flips([float(size) for size in sizes])
    seen = data.draw(st.sampled_from(every))
    above = sum(rank_sum(flip) >= rank_sum(seen) for flip in every) / len(every)
    below = sum(rank_sum(flip) <= rank_sum(seen) for flip in every) / len(every)
    assert Differences(seen).p_above() == above
    assert Differences(seen).p_below() == below


@given(few)
@settings(deadline=None, max_examples=50)
def test_ties_and_zeros_never_raise_the_rate_of_errors(sizes: list[float]) -> None:
    """Equal medians make false alarms likelier than the level says."""
    found = [Differences(flip).p_above() for flip in flips(sizes)]
    for level in found:
        assert sum(p <= level for p in found) / len(found) <= level


@given(values)
@settings(deadline=None)
def test_the_estimate_is_the_median_of_all_averages(sample: list[float]) -> None:
    """Another estimate is shown than the one that the literature names."""
    averages = [(a + b) / 2 for a, b in combinations_with_replacement(sample, 2)]
    assert Differences(sample).estimate == pytest.approx(statistics.median(averages), abs=1e-12)


@given(st.one_of(few, values), logarithms)
@settings(deadline=None)
def test_exceeds_says_what_the_estimate_says(sample: list[float], shift: float) -> None:
    """A simulation decides otherwise than a run does."""
    found = Differences(sample)
    for bound in (shift, found.estimate, 0.0):
        assert found.exceeds(bound) == (found.estimate > bound)


@given(st.one_of(few, values), st.sampled_from(LEVELS))
@settings(deadline=None)
def test_bounds_are_where_the_test_begins_to_reject(sample: list[float], level: float) -> None:
    """A bound contradicts the p-value beside it."""
    found = Differences(sample)
    low, high = found.bounds(level)
    if math.isinf(high):
        assert 2.0 ** -len(sample) > level
        assert low == -math.inf
        return
    assert low <= found.estimate <= high
    assert found.p_above(low) > level
    assert found.p_below(high) > level
    assert found.p_above(low - 1e-6) <= level
    assert found.p_below(high + 1e-6) <= level


@given(st.one_of(few, values), st.sampled_from(LEVELS))
@settings(deadline=None)
def test_the_mirror_image_is_judged_the_same(sample: list[float], level: float) -> None:
    """It matters which of two servers is called the baseline."""
    one, other = Differences(sample), Differences(-value for value in sample)
    low, high = one.bounds(level)
    assert one.p_above(0.5) == other.p_below(-0.5)
    assert one.estimate == -other.estimate
    assert other.bounds(level) == (-high, -low)


@given(values, st.floats(0, 5), st.data())
@settings(deadline=None)
def test_a_slower_pair_never_looks_faster(
    sample: list[float], more: float, data: st.DataObject
) -> None:
    """A worse candidate gets a better p-value."""
    at = data.draw(st.integers(0, len(sample) - 1))
    worse = [*sample[:at], sample[at] + more, *sample[at + 1 :]]
    assert Differences(worse).p_above() <= Differences(sample).p_above()
    assert Differences(worse).p_below(1.0) >= Differences(sample).p_below(1.0)
    assert Differences(worse).estimate >= Differences(sample).estimate


def test_one_stall_decides_nothing() -> None:
    """A single huge difference outweighs all others."""
    assert Differences([-0.01] * 23 + [9.0]).p_above() > 0.9
    assert Differences([0.1] * 23 + [-9.0]).p_above() < 0.01


def test_nothing_is_said_of_nothing() -> None:
    """No pairs look like evidence."""
    nothing = Differences([])
    assert (nothing.p_above(), nothing.p_below()) == (1, 1)
    assert math.isnan(nothing.estimate)
    assert not nothing.exceeds(0)
    assert nothing.bounds(0.4) == (-math.inf, math.inf)


def test_critical_is_the_first_that_rejects() -> None:
    """Bounds are one average too wide or too narrow."""
    assert critical(5, 2**-5) == 15
    assert critical(5, 2**-6) is None
    assert critical(5, 0.0) is None
    assert critical(24, 0.05) == 209  # 300 - 91, from the published tables
