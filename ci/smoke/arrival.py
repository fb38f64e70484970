"""Whether a stream comes while it is made, or is held back by something on its way.

A proxy that buffers brings many events at once. So does a server that is faster than can be
seen, and a machine that is too busy to read in time. What a token takes is known from streams of
one token and of many; how long the reading thread had to wait for a core, the kernel tells.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

LENGTHS = (16, 64)
"""Tokens of the streams that are tried, until one takes long enough: a short one fits into any
proxy's buffer, a long one shows what a fast server does."""
TRIES, MOST_TRIES = 3, 10
AT_ONCE = 4.0
"""Events that come together, on average over a whole stream, from which on it is held back."""
VISIBLE = 0.012
"""Seconds that the tokens after the first have to take, so that their times can be told apart."""
FASTEST = 0.0005
"""Seconds a token below which nothing can be said."""
BUSY = 0.25
"""Share of the tokens' time for which the reader may have waited for a core."""


@dataclass(frozen=True)
class Arrival:
    """How one stream came; times are seconds from the request.

    Attributes:
        seconds: When it ended.
        moments: When each piece was read.
        events: How many events it holds.
        waited: Seconds that the reader waited for a core meanwhile; None where nobody knows.
        length: The Content-Length that it came with; empty where there was none.
    """

    seconds: float
    moments: tuple[float, ...]
    events: int
    waited: float | None = None
    length: str = ""

    def together(self, gap: float) -> float:
        """Return how many events came together on average; `gap` seconds part them."""
        parted = sum(later - earlier > gap for earlier, later in pairwise(self.moments))
        return self.events / (1 + parted)


Stream = Callable[[int], Arrival]
"""Asks for a stream of so many tokens."""


def held_back(stream: Stream) -> str | None:
    """Return how a server's streams are held back; empty where they aren't, None where unknown."""
    for tokens in LENGTHS:
        first = stream(tokens)
        if first.length:
            return f"buffered: a stream came with its whole length ({first.length} bytes) known"
        if first.together(first.seconds / tokens / AT_ONCE) < AT_ONCE:
            return ""
        shortest = min(stream(1).seconds for _ in range(TRIES))
        spent = min(stream(tokens).seconds for _ in range(TRIES)) - shortest
        if _slow_enough(spent, tokens):
            return _judged(stream, tokens, shortest, spent)
    return None


def _slow_enough(spent: float, tokens: int) -> bool:
    """Return whether tokens that took `spent` seconds after the first can be told apart."""
    return spent >= VISIBLE and spent / (tokens - 1) >= FASTEST


def _judged(stream: Stream, tokens: int, shortest: float, spent: float) -> str | None:
    """Say whether streams come in fewer pieces than their tokens, in `spent` s, are made.

    A stream that is over sooner shows that they took less: what was measured before was a machine
    that did something else.
    """
    seen = list[float]()
    for _ in range(MOST_TRIES):
        one = stream(tokens)
        spent = min(spent, one.seconds - shortest)
        if not _slow_enough(spent, tokens):
            return None
        each = spent / (tokens - 1)
        if one.together(each / AT_ONCE) < AT_ONCE:
            return ""
        if one.waited is not None and one.waited <= BUSY * spent:
            seen.append(one.together(each / AT_ONCE))
        if len(seen) == TRIES:
            return (
                f"buffered: events come {min(seen):.0f} at a time, although each takes "
                f"{1e3 * each:.1f} ms to be made; something before the server holds them back"
            )
    return None
