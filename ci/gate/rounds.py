"""Differences that come in rounds, each with a fresh start of both sides.

The estimate of round r (Hodges and Lehmann's, over its pairs) is taken as

    x_r = θ + b_r + ε_r

where θ is the image's difference, b_r what the two starts add, of variance 2τ², and ε_r what
the round's pairs leave unsure. The variance of ε_r is that of the rank test's own bounds. It
grows by (1 + c) / (1 - c) where one pair resembles the next; c ≥ 0 is the correlation between
neighbours that the run itself shows.

The mean of the rounds is held against Student's t. Its variance joins two estimates, each
weighted by its degrees of freedom: what is known beforehand of τ, plus the pairs' share
(Satterthwaite 1946), and how far apart the rounds are. It is never smaller than the latter, so
that a machine on which starts differ more than is known widens the bounds by itself.

With one round alone the exact rank test must say the same as t: either may hold a verdict back.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise
from statistics import NormalDist

from ci.gate.signed_rank import Differences, critical, tail
from ci.gate.student import beyond, quantile

MOST_ALIKE = 0.9
"""Correlation of neighbours above which none is believed."""
_BOUND = 0.05
"""Level of the bounds that the variance of a round's estimate is taken from."""


class RoundDifferences:
    """One metric's differences, round by round; asked as `Differences` are.

    Args:
        rounds: The differences of each round's pairs, in the order in which they were measured.
        apart: Standard deviation of the difference between two starts, known beforehand.
        freedom: Degrees of freedom of `apart`.
    """

    def __init__(self, rounds: Sequence[Sequence[float]], apart: float, freedom: float) -> None:
        self._rounds = rounds
        self._ranks = [Differences(values) for values in rounds]
        self._apart, self._freedom = apart, freedom
        self.estimates = [ranks.estimate for ranks in self._ranks]
        self.estimate = statistics.fmean(self.estimates) if rounds else math.nan

    def p_above(self, shift: float = 0.0) -> float:
        """Return the p-value of "the image's difference lies above `shift`"."""
        ranked = self._ranks[0].p_above(shift) if len(self._ranks) == 1 else 0.0
        return max(ranked, self._beyond(self.estimate - shift))

    def p_below(self, shift: float = 0.0) -> float:
        """Return the p-value of "the image's difference lies below `shift`"."""
        ranked = self._ranks[0].p_below(shift) if len(self._ranks) == 1 else 0.0
        return max(ranked, self._beyond(shift - self.estimate))

    def exceeds(self, shift: float) -> bool:
        """Return whether the estimate is above `shift`."""
        return self.estimate > shift

    def bounds(self, level: float) -> tuple[float, float]:
        """Return the lowest and the highest difference that isn't rejected, each at `level`."""
        if not level or math.isinf(self.error):
            return -math.inf, math.inf
        reach = quantile(level, self.freedom) * self.error
        low, high = self.estimate - reach, self.estimate + reach
        if len(self._ranks) > 1:
            return low, high
        lowest, highest = self._ranks[0].bounds(level)
        return min(low, lowest), max(high, highest)

    @property
    def error(self) -> float:
        """Standard error of the estimate."""
        return math.sqrt(self._joined[0] / len(self._rounds))

    @property
    def freedom(self) -> float:
        """Degrees of freedom of that error."""
        return self._joined[1]

    @cached_property
    def alike(self) -> float:
        """Correlation of a pair with the next one, at least 0.

        Small samples lean below the truth by one over their size (Kendall 1954); that is added.
        """
        above = below = 0.0
        lean = []
        for values, centre in zip(self._rounds, self.estimates, strict=True):
            off = [value - centre for value in values]
            above += sum(one * other for one, other in pairwise(off))
            below += sum(one * one for one in off)
            lean.append(1 / len(values))
        return min(MOST_ALIKE, max(0.0, above / below + statistics.fmean(lean))) if below else 0.0

    @cached_property
    def _joined(self) -> tuple[float, float]:
        """Variance of a round's estimate, and its degrees of freedom."""
        within = self._within
        if math.isinf(within):
            return math.inf, 1.0
        known = self._apart**2 + within
        pairs = sum(map(len, self._rounds))
        free = max(1, (pairs - len(self._rounds)) / self._inflation)  # like so many unlike ones
        parts = self._apart**4 / self._freedom + within**2 / free
        if len(self._rounds) == 1:
            return known, known**2 / parts if parts else float(pairs)
        weight = known**2 / parts if parts else float(pairs)
        seen, more = statistics.variance(self.estimates), len(self._rounds) - 1
        joined = (weight * known + more * seen) / (weight + more)
        return max(joined, seen), weight + more

    @property
    def _within(self) -> float:
        """Variance that the pairs leave in a round's estimate, the mean of the rounds."""
        return self._inflation * statistics.fmean(map(_variance, self._ranks))

    @property
    def _inflation(self) -> float:
        """By how much pairs that resemble their neighbours widen a variance."""
        return (1 + self.alike) / (1 - self.alike)

    def _beyond(self, distance: float) -> float:
        error = self.error
        if math.isinf(error) or math.isnan(distance):
            return 1.0
        if not error:
            return 0.0 if distance > 0 else 1.0
        return beyond(distance / error, self.freedom)


def _variance(ranks: Differences) -> float:
    """Return the variance of an estimate, by the width of the rank test's bounds."""
    reject = critical(ranks.pairs, _BOUND)
    if not reject:
        return math.inf
    low, high = ranks.bounds(_BOUND)
    level = tail(ranks.pairs)[reject]
    return ((high - low) / 2 / NormalDist().inv_cdf(1 - level)) ** 2
