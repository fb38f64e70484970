"""Wilcoxon's signed-rank test of paired differences: exact p-values, bounds and estimate.

The statistic T(s) is the number of *Walsh averages* (means of two differences, or of one with
itself) above a shift s; with s = 0 and no ties that is the sum of the ranks of the positive
differences. If each difference is as likely to lie a distance above s as below it, T has the
distribution of a sum of 1 … n, each taken by the toss of a coin: this is the sign-flip
permutation test, with ranks in place of the differences, so that a stall in one block can't
decide a comparison. It is exact for every number of pairs, and needs no draws.

Test, bounds and estimate come from the same averages, so they never contradict each other.
Averages that equal the shift count for neither side: ties and zeros make the test cautious.

Sources: Wilcoxon (1945); Hodges and Lehmann (1963); Hollander, Wolfe and Chicken (2014), 3.1-3.3.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import cached_property, lru_cache
from itertools import accumulate

MOST_PAIRS = 512
"""Most pairs of one test; beyond them the exact distribution takes seconds."""


@lru_cache(maxsize=256)
def tail(pairs: int) -> tuple[float, ...]:
    """Return the chance that T is at least t, for t from 0 to one above its largest value.

    The counts of all subsets of 1 … n by their sum are the coefficients of the product of
    1 + x^k, which is multiplied out as one large integer with a field for each coefficient.

    Args:
        pairs: How many differences, 0 to `MOST_PAIRS`.

    Raises:
        ValueError: More pairs than that.
    """
    if not 0 <= pairs <= MOST_PAIRS:
        raise ValueError(f"{pairs} pairs; 0 to {MOST_PAIRS} are possible")
    width, largest = pairs // 8 + 1, pairs * (pairs + 1) // 2
    product = 1
    for rank in range(1, pairs + 1):
        product += product << (8 * width * rank)
    fields = product.to_bytes(width * (largest + 1), "little")
    counts = (fields[at : at + width] for at in range(0, len(fields), width))
    falling = accumulate(int.from_bytes(count, "little") for count in counts)
    everything = 1 << pairs  # the distribution is symmetric: counts from below serve from above
    return (*reversed([count / everything for count in falling]), 0.0)


@lru_cache(maxsize=1024)
def critical(pairs: int, level: float) -> int | None:
    """Return the smallest T whose tail is at most `level`; None where none is."""
    chances = tail(pairs)[:-1]
    return next((t for t, chance in enumerate(chances) if chance <= level), None)


class Differences:
    """Paired differences, one of each pair.

    Args:
        values: The differences; finite, at most `MOST_PAIRS`, in any order.
    """

    def __init__(self, values: Iterable[float]) -> None:
        self.ordered = sorted(values)
        self.pairs = len(self.ordered)
        self.averages = self.pairs * (self.pairs + 1) // 2

    def p_above(self, shift: float = 0.0) -> float:
        """Return the p-value of "the differences lie above `shift`"."""
        return tail(self.pairs)[_above(self.ordered, 2 * shift)]

    def p_below(self, shift: float = 0.0) -> float:
        """Return the p-value of "the differences lie below `shift`"."""
        return tail(self.pairs)[_above(self._mirrored, -2 * shift)]

    def exceeds(self, shift: float) -> bool:
        """Return whether `estimate` is above `shift`, without computing it where that is clear."""
        twice = 2 * _above(self.ordered, 2 * shift)
        return self.estimate > shift if twice == self.averages else twice > self.averages

    @cached_property
    def estimate(self) -> float:
        """Hodges and Lehmann's estimate: the median of the Walsh averages; nan without pairs."""
        if not self.pairs:
            return math.nan
        sums, middle = self._sums, self.averages // 2
        low = sums[middle] if self.averages % 2 else sums[middle - 1]
        return (low / 2 + sums[middle] / 2) / 2

    def bounds(self, level: float) -> tuple[float, float]:
        """Return the lowest and the highest shift that isn't rejected, each at `level`.

        A bound is infinite where there are too few pairs to reject any shift.
        """
        reject = critical(self.pairs, level)
        if reject is None or not reject:
            return -math.inf, math.inf
        return self._sums[-reject] / 2, self._sums[reject - 1] / 2

    @cached_property
    def _sums(self) -> list[float]:
        """Every Walsh average, doubled: halving loses nothing, and comparisons stay exact."""
        ordered = self.ordered
        return sorted(one + other for at, one in enumerate(ordered) for other in ordered[at:])

    @cached_property
    def _mirrored(self) -> list[float]:
        return [-value for value in reversed(self.ordered)]


def _above(ordered: Sequence[float], bound: float) -> int:
    """Return how many sums of two of the ascending values, or of one doubled, exceed `bound`."""
    low, high, count = 0, len(ordered) - 1, 0
    while low <= high:
        if ordered[low] + ordered[high] > bound:
            count += high - low + 1
            high -= 1
        else:
            low += 1
    return count
