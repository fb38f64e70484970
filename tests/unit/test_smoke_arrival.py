"""A stream that is held back is told from a fast server, a slow start and a busy machine."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ci.smoke.arrival import Arrival, held_back

pytestmark = pytest.mark.unit

Stream = Callable[[int], Arrival]


def server(
    each: float,
    *,
    first: float = 0.02,
    burst: int = 1,
    waited: float | None = 0.0,
    transfer: float = 0.00005,
) -> Stream:
    """Return the streams of a server.

    Args:
        each: Seconds that a token takes.
        first: Seconds until the first one.
        burst: How many are passed on together.
        waited: Seconds that the reader waited for a core.
        transfer: Seconds between two pieces that are passed on together.
    """

    def stream(tokens: int) -> Arrival:
        made = [first + at * each for at in range(tokens)]
        sent = [made[min(at // burst * burst + burst, tokens) - 1] for at in range(tokens)]
        moments = tuple(moment + at % burst * transfer for at, moment in enumerate(sent))
        return Arrival(moments[-1], moments, tokens, waited)

    return stream


HELD = "buffered: events come 16 at a time, although each takes 5.0 ms to be made"


@pytest.mark.parametrize(
    ("stream", "told"),
    [
        (server(0.005), ""),
        (server(0.001, first=5.0), ""),
        (server(0.005, burst=2), ""),
        (server(0.005, burst=1000), HELD),
        (server(0.005, burst=7), "buffered: events come 5 at a time"),
        (server(0.001, burst=1000), "buffered: events come 16 at a time"),
        (server(0.0006, burst=20), "buffered: events come 16 at a time"),
        (server(0.00001), None),
        (server(0.00001, burst=1000), None),
        (server(0.005, burst=1000, waited=0.06), None),
        (server(0.005, burst=1000, waited=None), None),
    ],
    ids=[
        *("a plain stream", "a slow start", "two at once", "held to the end"),
        *("a proxy's small buffer", "a fast server behind a proxy", "a faster one, small buffer"),
        *("too fast to be seen", "too fast behind a proxy", "a busy machine", "nobody knows"),
    ],
)
def test_what_is_said_of_a_stream(stream: Stream, told: str | None) -> None:
    """A good server is called buffered, or a proxy that holds streams back passes."""
    found = held_back(stream)
    assert found is None if told is None else str(found).startswith(told)
    assert bool(found) is bool(told)


def test_a_stream_that_came_with_its_length_was_held_back() -> None:
    """A proxy that is as fast as the server, and sends a stream in one piece, passes."""
    found = held_back(lambda _: Arrival(0.001, (0.001,), 16, 0.0, "5120"))
    assert found == "buffered: a stream came with its whole length (5120 bytes) known"


def test_a_good_stream_costs_one_request() -> None:
    """Each run on a good server takes seconds longer for nothing."""
    asked: list[int] = []
    plain = server(0.005)

    def counted(tokens: int) -> Arrival:
        asked.append(tokens)
        return plain(tokens)

    assert held_back(counted) == ""
    assert asked == [16]


def test_a_machine_that_was_busy_while_tokens_were_timed_says_nothing() -> None:
    """A server that is faster than can be seen is called buffered, as it was timed too slow."""
    asked: list[int] = []
    slow, fast = server(0.0012, burst=1000), server(0.00001, burst=1000)

    def first_busy(tokens: int) -> Arrival:
        asked.append(tokens)
        return (slow if len(asked) < 8 else fast)(tokens)

    assert held_back(first_busy) is None
