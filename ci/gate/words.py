"""Ratios, bounds and rates as people read them."""

from __future__ import annotations

import math


def percent(change: float) -> str:
    """Return a change with its sign: 0.1 is `+10 %`."""
    rounded = round(100 * change, 1) or 0.0
    return f"{rounded:+g} %" if rounded else "±0 %"


def rate(share: float) -> str:
    """Return a share without a sign: 0.01 is `1 %`."""
    return f"{round(100 * share, 2):g} %"


def between(low: float, high: float) -> str:
    """Return the bounds of a ratio as changes; a bound that isn't known is said to be."""
    if math.isinf(high) or not low:
        return "too few pairs for bounds"
    return f"between {percent(low - 1)} and {percent(high - 1)}"


def of_runs(hits: int, runs: int, low: float, high: float) -> str:
    """Return a rate with the number of runs behind it and the interval that they leave."""
    return f"{rate(hits / max(1, runs))} of {runs} runs ({rate(low)} to {rate(high)})"
