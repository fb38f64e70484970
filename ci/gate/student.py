"""Student's t at any degrees of freedom, also a broken number of them.

The chance beyond t at n degrees of freedom is half the regularised incomplete beta function
I(n / (n + t²); n/2, 1/2), computed by its continued fraction (Abramowitz and Stegun 1964, 26.7.1
and 26.5.8).
"""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import count

_ENOUGH = 1e-14
_TINY = 1e-300
_HALVINGS = 60


def beyond(t: float, freedom: float) -> float:
    """Return the chance that Student's t with `freedom` degrees of freedom is at least `t`."""
    if t < 0:
        return 1 - beyond(-t, freedom)
    if math.isinf(t):
        return 0.0
    return _incomplete_beta(freedom / (freedom + t * t), freedom / 2, 0.5) / 2


@lru_cache(maxsize=4096)
def quantile(level: float, freedom: float) -> float:
    """Return the t that is exceeded with the chance `level`, at most a half."""
    if level <= 0:
        return math.inf
    low, high = 0.0, 1.0
    while beyond(high, freedom) > level:
        low, high = high, 2 * high
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if beyond(middle, freedom) > level else (low, middle)
    return high


def _incomplete_beta(x: float, a: float, b: float) -> float:
    """Return the regularised incomplete beta function at `x` of 0 to 1."""
    if x in {0.0, 1.0}:
        return x
    if x > (a + 1) / (a + b + 2):
        return 1 - _incomplete_beta(1 - x, b, a)
    scale = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    front = math.exp(scale + a * math.log(x) + b * math.log1p(-x)) / a
    return front / _fraction(x, a, b)


def _fraction(x: float, a: float, b: float) -> float:
    """Return 1 + d₁/(1 + d₂/(1 + …)), the continued fraction below it, by Lentz's method."""
    found, above, below = 1.0, 1.0, 0.0
    for at in count(1):
        m = at // 2
        if at % 2:
            term = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            term = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        below = 1 / ((1 + term * below) or _TINY)
        above = (1 + term / above) or _TINY
        found *= above * below
        if abs(above * below - 1) < _ENOUGH:
            break
    return found
