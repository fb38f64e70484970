"""Records of requests as tests make them, and strategies for whole runs of them."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

from hypothesis import strategies as st

from ci.bench.records import ErrorKind, RequestRecord


def record(
    index: int = 0,
    started: float = 0.0,
    ttft: float = 0.1,
    itls: tuple[float, ...] = (),
    **more: Any,
) -> RequestRecord:
    """Return a whole answer: its first token after `ttft`, one more after each of `itls`."""
    times = tuple(accumulate(itls, initial=started + ttft))
    told: dict[str, Any] = {
        "index": index,
        "asked_tokens": len(times),
        "started": started,
        "ended": times[-1],
        "times": times,
        "counts": tuple(range(1, len(times) + 1)),
        "output_tokens": len(times),
        "prompt_tokens": 10,
        "finish": "length",
        "status": 200,
    }
    return RequestRecord(**(told | more))


def failed(index: int = 0, started: float = 0.0, kind: ErrorKind = ErrorKind.CUT) -> RequestRecord:
    """Return a request that failed after a second and one token."""
    return RequestRecord(
        index=index,
        asked_tokens=2,
        started=started,
        ended=started + 1.0,
        times=(started + 0.5,),
        counts=(1,),
        output_tokens=1,
        error=kind,
        detail="as it was",
    )


def in_row(count: int, gap: float = 0.1, **more: Any) -> tuple[RequestRecord, ...]:
    """Return whole answers of two tokens, one started after the other."""
    told = {"itls": (0.01,)} | more
    return tuple(record(at, started=at * gap, **told) for at in range(count))


def moments(least: int, most: int) -> st.SearchStrategy[float]:
    """Draw seconds on a clock of 1024 ticks a second, on which sums of floats are exact."""
    return st.integers(least * 1024, most * 1024).map(lambda ticks: ticks / 1024)


seconds = moments(0, 100).filter(bool)


@st.composite
def records(draw: st.DrawFn) -> list[RequestRecord]:
    """Draw the records of a run: whole answers of one to five tokens, and failures."""
    made = []
    for index in range(draw(st.integers(0, 30))):
        started = draw(moments(0, 1000))
        if draw(st.integers(0, 5)) == 0:
            made.append(failed(index, started, draw(st.sampled_from(list(ErrorKind)))))
            continue
        itls = tuple(draw(st.lists(seconds, max_size=4)))
        delay = draw(st.none() | moments(0, 10))
        intended = None if delay is None else started - delay
        made.append(record(index, started, draw(seconds), itls, intended=intended))
    return made
