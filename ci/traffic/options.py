"""How much traffic there is, and of what kind."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from ci.errors import UsageError
from ci.settings.traffic import TrafficSettings
from ci.traffic.apis import CHAT, GENERATE

SECONDS = 60.0
"""How long streams are started where nothing else ends it."""
MOST_STARTS = 10_000_000


@dataclass(frozen=True)
class TrafficOptions:
    """Some traffic; it always has an end.

    Args:
        asked: What is sent, at what pace, and within what limits.
        seconds: For how long streams are started; None for `SECONDS`, or for as long as
            `requests` take where those are given.
        requests: Most streams that are started; None for as many as the time has.
        expect: Share of each slot, of 100.
        seed: Of prompts and of the choice between the APIs.

    Raises:
        UsageError: It would have no stream, or no end.
    """

    asked: TrafficSettings = field(default_factory=TrafficSettings)
    seconds: float | None = None
    requests: int | None = None
    expect: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what is no traffic."""
        if self.seconds is not None and not 0 < self.seconds < math.inf:
            raise UsageError(f"traffic for {self.seconds:g} s: seconds must be over 0, and finite")
        if self.requests is not None and not 1 <= self.requests <= MOST_STARTS:
            raise UsageError(f"traffic of {self.requests} requests: from 1 to {MOST_STARTS}")
        wrong = [name for name, share in self.expect.items() if not 0 <= share <= 100]  # noqa: PLR2004
        if wrong or sum(self.expect.values()) > 100:  # noqa: PLR2004
            raise UsageError("shares are expected of 100: each from 0 to 100, and no more in all")

    @property
    def starts(self) -> int:
        """How many streams there are at most."""
        if self.requests is not None and self.seconds is None:
            return self.requests
        in_time = math.ceil(self.asked.rate * (self.seconds or SECONDS))
        return min(in_time, self.requests or MOST_STARTS)

    @property
    def apis(self) -> tuple[str, ...]:
        """What is asked."""
        return (GENERATE, CHAT) if self.asked.api == "both" else (self.asked.api,)
