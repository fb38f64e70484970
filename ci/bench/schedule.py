"""Load shapes: when requests are sent.

A closed loop keeps a number of requests under way: the slower the server, the fewer it is
asked. An open loop asks at a rate whatever the server does, on a schedule that is fixed
before the run (absolute times), so that a late request doesn't delay those after it.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

from ci.errors import UsageError

Arrivals = Literal["poisson", "constant"]


@dataclass(frozen=True)
class Closed:
    """A closed loop.

    Args:
        concurrency: Requests under way at any time.
        requests: Requests in all.
    """

    concurrency: int
    requests: int

    def __post_init__(self) -> None:
        """Refuse a loop that never has its concurrency under way."""
        if not 1 <= self.concurrency <= self.requests:
            raise UsageError(f"{self.label}: needs from 1 to {self.requests} (its requests)")

    @property
    def label(self) -> str:
        """What it is called in a report."""
        return f"concurrency {self.concurrency}"

    @property
    def offsets(self) -> None:
        """There is no schedule."""
        return


@dataclass(frozen=True)
class Open:
    """An open loop.

    Args:
        rate: Requests a second.
        requests: Requests in all.
        arrivals: `poisson` for independent ones, as of many users; `constant` for equal gaps.
        seed: What makes the schedule repeatable.
    """

    rate: float
    requests: int
    arrivals: Arrivals = "poisson"
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what is no load."""
        if not 0 < self.rate <= 100_000 or self.requests < 1:  # noqa: PLR2004
            raise UsageError(f"{self.label}: needs a rate over 0 and at least one request")

    @property
    def label(self) -> str:
        """What it is called in a report."""
        return f"{self.rate:g} requests/s"

    @property
    def offsets(self) -> tuple[float, ...]:
        """When each request is to start, in seconds from the start of the run."""
        if self.arrivals == "constant":
            return tuple(number / self.rate for number in range(self.requests))
        chance = random.Random(f"{self.seed}/{self.rate!r}/arrivals")  # noqa: S311 - repeatable
        at, offsets = 0.0, []
        for _ in range(self.requests):
            offsets.append(at)
            at += chance.expovariate(self.rate)
        return tuple(offsets)


Load = Closed | Open
