"""The search for the highest rate that still meets the SLOs: a server's goodput.

The rate is doubled until a step misses the SLOs, then the gap between the highest rate that
met them and the lowest that missed is halved (geometrically) until it is as narrow as asked.
Every step is a load of its own, so the number of steps bounds the time.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from ci.bench.metrics import Slo
from ci.errors import UsageError


@dataclass(frozen=True)
class Ramp:
    """What is searched for, and how long.

    Args:
        slo: What a request has to meet.
        share: Share of all requests of a step that has to.
        start: First rate, in requests a second.
        most: Highest rate that is tried.
        precision: Widest gap that may be left, as a share of the rate.
        steps: Most loads.
        seconds: Seconds of each.
        least: Fewest requests of each.
    """

    slo: Slo
    share: float = 0.95
    start: float = 1.0
    most: float = 1000.0
    precision: float = 0.1
    steps: int = 12
    seconds: float = 20.0
    least: int = 40

    def __post_init__(self) -> None:
        """Refuse a search without an aim or an end."""
        if not self.slo.limits:
            raise UsageError("a ramp needs an SLO")
        if not 0 < self.start <= self.most:
            raise UsageError(f"a ramp's rates are 0 < start <= most, not {self.start}, {self.most}")
        if not 0 < self.share <= 1 or self.precision <= 0 or self.steps < 1 or self.least < 1:
            raise UsageError(f"{self}: share is in (0, 1], the others are positive")

    def requests(self, rate: float) -> int:
        """Return how many requests a step at `rate` has."""
        return max(math.ceil(rate * self.seconds), self.least)


@dataclass(frozen=True)
class Step:
    """One rate that was tried.

    Args:
        rate: Requests a second.
        share: Share of requests that met the SLOs; None where the load wasn't measured.
        met: Whether it was enough; None where that can't be said.
        why: What keeps it from being said.
    """

    rate: float
    share: float | None
    met: bool | None
    why: str = ""


@dataclass(frozen=True)
class RampResult:
    """What a search found.

    Args:
        best: Highest rate that met the SLOs; None where none did.
        missed: Lowest rate above it that didn't; None where none was seen.
        steps: All that was tried, in order.
        precision: Widest gap between the two that was to be left.
    """

    best: float | None
    missed: float | None
    steps: tuple[Step, ...]
    precision: float

    @property
    def problem(self) -> str:
        """Why the search is not conclusive; empty where it is."""
        last = self.steps[-1]
        if last.met is None:
            return f"at {last.rate:g} requests/s: {last.why}"
        if self.best is None:
            return f"no rate down to {last.rate:g} requests/s meets the SLOs"
        if self.missed is None:
            return f"{self.best:g} requests/s still meet the SLOs, and no more was tried"
        if self.missed > self.best * (1 + self.precision):
            return f"only known to lie between {self.best:g} and {self.missed:g} requests/s"
        return ""


async def search(ramp: Ramp, measure: Callable[[float], Awaitable[Step]]) -> RampResult:
    """Search for the highest rate that `measure` says meets the SLOs.

    A step about which nothing can be said ends the search: at a higher rate it would be worse.
    """
    best: float | None = None
    missed: float | None = None
    steps: list[Step] = []
    rate: float | None = ramp.start
    while rate is not None and len(steps) < ramp.steps:
        steps.append(step := await measure(rate))
        if step.met is None:
            break
        best, missed = (rate, missed) if step.met else (best, rate)
        rate = _next(ramp, best, missed)
    return RampResult(best, missed, tuple(steps), ramp.precision)


def _next(ramp: Ramp, best: float | None, missed: float | None) -> float | None:
    """Return the next rate; None where the answer is known as precisely as asked."""
    if best is None:
        return (missed or ramp.start) / 2
    if missed is None:
        return min(2 * best, ramp.most) if best < ramp.most else None
    return math.sqrt(best * missed) if missed > best * (1 + ramp.precision) else None
