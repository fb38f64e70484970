"""Exact bounds of a binomial share (Clopper and Pearson 1934).

Of 100 streams of which none was lost, the true rate of losses is at most 2.95 % with 95 %
confidence: the exact form of the rule of three.
"""

from __future__ import annotations

import math

CONFIDENCE = 0.95
_STEPS = 60


def at_most(hits: int, count: int, confidence: float = CONFIDENCE) -> float:
    """Return the one-sided upper bound of a share of which `hits` of `count` were seen.

    It is the share at which so few hits, or fewer, have a chance of 1 - `confidence`.
    """
    if hits >= count:
        return 1.0
    low, high = hits / count, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if below(hits, count, middle) > 1 - confidence:
            low = middle
        else:
            high = middle
    return high


def interval(hits: int, count: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return the two-sided interval of a share; (0, 1) of nothing."""
    one_sided = (1 + confidence) / 2
    return 1 - at_most(count - hits, count, one_sided), at_most(hits, count, one_sided)


def below(hits: int, count: int, share: float) -> float:
    """Return the chance of at most `hits` of `count`."""
    if share <= 0 or hits >= count:
        return 1.0
    if share >= 1:
        return 0.0
    odds, term = math.log(share) - math.log1p(-share), count * math.log1p(-share)
    terms = [term]
    for at in range(hits):
        term += math.log((count - at) / (at + 1)) + odds
        terms.append(term)
    most = max(terms)
    return min(math.exp(most) * math.fsum(math.exp(one - most) for one in terms), 1.0)
