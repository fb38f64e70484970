"""Percentiles that are real samples, with confidence intervals.

A percentile is the *nearest rank*: the smallest sample that at least p % of all are no larger
than. Its interval is distribution-free: two samples between which the true percentile lies
with 95 % confidence, by the binomial distribution of how many samples fall below it. Where
samples come in clusters (the inter-token latencies of one stream), Woodruff's method widens
the interval by the design effect. Where there are too few samples for an end, it has none.

Sums are exactly rounded (`math.fsum`), so that no figure depends on the order of records.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

LEVELS = (50, 90, 95, 99)
"""Percentiles that a report names."""

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Percentile:
    """One percentile.

    Args:
        level: Which one, in percent.
        value: The sample that it is.
        low: Lower end of its confidence interval; None where there are too few samples.
        high: Upper end.
    """

    level: int
    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class SampleDistribution:
    """What samples of one quantity look like; there is none of nothing.

    Args:
        count: How many samples.
        mean: Their mean.
        deviation: Their standard deviation (of these samples: divided by `count`).
        least: The smallest.
        most: The largest.
        percentiles: Those of `LEVELS`.
    """

    count: int
    mean: float
    deviation: float
    least: float
    most: float
    percentiles: tuple[Percentile, ...]

    def at(self, level: int) -> Percentile:
        """Return the percentile of a level that is there."""
        return next(one for one in self.percentiles if one.level == level)


def distribution(samples: Iterable[float]) -> SampleDistribution | None:
    """Describe independent samples; None where there are none."""
    ordered = sorted(samples)
    if not ordered:
        return None
    count = len(ordered)
    return _described(ordered, tuple(_independent(ordered, count, level) for level in LEVELS))


def clustered(clusters: Iterable[Sequence[float]]) -> SampleDistribution | None:
    """Describe samples that come in clusters, which are independent of each other."""
    groups = [sorted(cluster) for cluster in clusters if cluster]
    ordered = sorted(sample for group in groups for sample in group)
    if not ordered:
        return None
    return _described(ordered, tuple(_woodruff(ordered, groups, level) for level in LEVELS))


def rank(count: int, level: int) -> int:
    """Return which of `count` sorted samples, from 1, is the percentile of a level."""
    return max(-(-count * level // 100), 1)


def rank_value(ordered: Sequence[float], level: int) -> float:
    """Return the percentile of a level of sorted samples, of which there is at least one."""
    return ordered[rank(len(ordered), level) - 1]


def _described(ordered: Sequence[float], percentiles: tuple[Percentile, ...]) -> SampleDistribution:
    count, mean = len(ordered), math.fsum(ordered) / len(ordered)
    variance = math.fsum((sample - mean) ** 2 for sample in ordered) / count
    return SampleDistribution(
        count, mean, math.sqrt(variance), ordered[0], ordered[-1], percentiles
    )


def _independent(ordered: Sequence[float], count: int, level: int) -> Percentile:
    low, high = interval_ranks(count, level)
    return Percentile(
        level,
        rank_value(ordered, level),
        ordered[low - 1] if low else None,
        ordered[high - 1] if high else None,
    )


@lru_cache(maxsize=256)
def interval_ranks(count: int, level: int) -> tuple[int | None, int | None]:
    """Return the ranks, from 1, of the ends of the binomial confidence interval.

    The lower is the largest r with P(B < r) <= 2.5 %, the upper the smallest r with
    P(B >= r) <= 2.5 %, where B, binomial with `count` and `level` %, is the number of
    samples below the true percentile.
    """
    tail = (1 - CONFIDENCE) / 2
    share, below, low, high = level / 100, 0.0, None, None
    for samples in range(count):
        below += _binomial(count, samples, share)
        if below <= tail:
            low = samples + 1
        if high is None and 1 - below <= tail:
            high = samples + 1
            break
    return low, high


def _binomial(count: int, hits: int, share: float) -> float:
    ways = math.lgamma(count + 1) - math.lgamma(hits + 1) - math.lgamma(count - hits + 1)
    return math.exp(ways + hits * math.log(share) + (count - hits) * math.log1p(-share))


def _woodruff(
    ordered: Sequence[float], groups: Sequence[Sequence[float]], level: int
) -> Percentile:
    value, count = rank_value(ordered, level), len(ordered)
    if len(groups) < 2:  # noqa: PLR2004
        return Percentile(level, value)
    share = bisect_right(ordered, value) / count
    excess = (bisect_right(group, value) - share * len(group) for group in groups)
    factor = len(groups) / (len(groups) - 1)
    error = math.sqrt(factor * math.fsum(one * one for one in excess)) / count
    reach = NormalDist().inv_cdf((1 + CONFIDENCE) / 2) * error
    low, high = math.ceil(count * (level / 100 - reach)), math.ceil(count * (level / 100 + reach))
    return Percentile(
        level,
        value,
        ordered[low - 1] if low >= 1 else None,
        ordered[high - 1] if high <= count else None,
    )
