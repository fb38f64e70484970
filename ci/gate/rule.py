"""What the gate is asked, and how often it may err: the numbers that a user chooses."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ci.errors import UsageError

METRICS = ("ttft", "tpot", "e2e")
"""What is compared: time to first token, time per output token, and the whole request."""


@dataclass(frozen=True)
class Rule:
    """When a candidate is too slow.

    Args:
        slowdown: The slow-down that must not get past: 0.1 is ten per cent more time. Where
            a metric is slower by this much, the chance of PASSED is at most 1 - `power`.
        least: The least effect: an estimate above it is needed for FAILED, and one up to it
            for PASSED. Half of `slowdown` is a good choice.
        false_alarm: Highest chance of FAILED for a candidate that is no slower, over all
            metrics and looks together.
        power: Chance with which a slow-down of `slowdown` must not pass.
        metrics: Names of the compared metrics; lower is better in all.
        allowed: A slow-down that is let pass for sure: FAILED has to rule out that the slow-down
            is only this large. 0 where FAILED has to rule out only that there is none. Where
            `least` and `slowdown` are the same number as this, one bound divides all verdicts:
            the interval of a ratio lies above it, below it, or on both sides.

    Raises:
        UsageError: A number lies outside of its range.
    """

    slowdown: float = 0.10
    least: float = 0.05
    false_alarm: float = 0.01
    power: float = 0.95
    metrics: tuple[str, ...] = METRICS
    allowed: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what no comparison can mean."""
        one_bound = 0 < self.allowed == self.least == self.slowdown < math.inf
        if not (one_bound or 0 < self.least < self.slowdown < math.inf):
            raise UsageError(
                f"gate: the least effect ({self.least:g}) must lie between 0 and the slow-down "
                f"that must not pass ({self.slowdown:g})"
            )
        if not 0 <= self.allowed <= self.least:
            raise UsageError(
                f"gate: the slow-down that is let pass ({self.allowed:g}) must lie between 0 and "
                f"the least effect ({self.least:g})"
            )
        for name, value in (("false_alarm", self.false_alarm), ("power", 1 - self.power)):
            if not 0 < value < 0.5:  # noqa: PLR2004
                raise UsageError(f"gate: {name} gives a rate of errors of {value:g}, not in 0-0.5")
        if not self.metrics or len(set(self.metrics)) < len(self.metrics):
            raise UsageError("gate: metrics must be at least one name, each once")

    @property
    def margin(self) -> float:
        """Logarithm of the ratio that must not pass."""
        return math.log1p(self.slowdown)

    @property
    def tolerance(self) -> float:
        """Logarithm of the ratio that is let pass for sure."""
        return math.log1p(self.allowed)

    @property
    def threshold(self) -> float:
        """Logarithm of the ratio up to which a difference doesn't matter."""
        return math.log1p(self.least)

    @property
    def miss(self) -> float:
        """Highest chance of PASSED for a candidate that is slower by `slowdown`."""
        return 1 - self.power
