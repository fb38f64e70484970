"""The data of a bench's plots, as plain numbers; who draws them needs nothing else."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ci.bench.metrics import Summary
from ci.bench.percentiles import rank_value
from ci.bench.records import RequestRecord

POINTS = 200
"""Most points of a curve."""


@dataclass(frozen=True)
class Curve:
    """A cumulative distribution: `shares[i]` of all samples are at most `seconds[i]`."""

    name: str
    seconds: tuple[float, ...]
    shares: tuple[float, ...]


@dataclass(frozen=True)
class Moment:
    """One stretch of a load's timeline.

    Args:
        start: Seconds from the start of the load.
        seconds: Its length.
        tokens: Output tokens that came in it.
        running: Requests under way, on average.
        ttft: Median TTFT in seconds of requests that started in it; None without any.
        failed: Requests that failed in it.
    """

    start: float
    seconds: float
    tokens: int
    running: float
    ttft: float | None
    failed: int


@dataclass(frozen=True)
class LoadPoint:
    """One load on the curve of throughput against latency; latencies in seconds."""

    label: str
    request_throughput: float
    output_throughput: float | None
    ttft_p50: float
    ttft_p99: float
    tpot_p50: float | None
    e2e_p50: float


def curves(records: Sequence[RequestRecord]) -> tuple[Curve, ...]:
    """Return the cumulative distributions of TTFT, TPOT, ITL and e2e that were measured."""
    whole = [record for record in records if record.complete]
    found = {
        "TTFT": (record.ttft for record in whole),
        "TPOT": (record.tpot for record in whole),
        "ITL": (gap for record in whole for gap in record.itls),
        "e2e": (record.e2e for record in whole),
    }
    drawn = (_curve(name, values) for name, values in found.items())
    return tuple(curve for curve in drawn if curve)


def _curve(name: str, values: Iterable[float | None]) -> Curve | None:
    ordered = sorted(value for value in values if value is not None)
    if not ordered:
        return None
    count = len(ordered)
    steps = min(count, POINTS)
    ranks = [-(-count * step // steps) for step in range(1, steps + 1)]
    return Curve(
        name,
        tuple(ordered[rank - 1] for rank in ranks),
        tuple(rank / count for rank in ranks),
    )


def timeline(records: Sequence[RequestRecord], stretches: int = 60) -> tuple[Moment, ...]:
    """Cut a load into equal stretches, at most so many, each of at least 0.1 s."""
    end = max((record.ended for record in records), default=0.0)
    if end <= 0:
        return ()
    width = max(end / stretches, 0.1)
    count = math.ceil(end / width)
    places = range(count)

    def place(time: float) -> int:
        return min(int(time / width), count - 1)

    tokens = _tokens(records, place)
    begun = {at: [one for one in records if place(one.started) == at] for at in places}
    failed = Counter(place(one.ended) for one in records if not one.complete)
    return tuple(
        Moment(
            start=at * width,
            seconds=width,
            tokens=tokens[at],
            running=_busy(records, at * width, (at + 1) * width) / width,
            ttft=_median([one.ttft for one in begun[at] if one.ttft is not None]),
            failed=failed[at],
        )
        for at in places
    )


def _tokens(records: Sequence[RequestRecord], place: Callable[[float], int]) -> Counter[int]:
    """Return how many tokens came in each stretch."""
    found = Counter[int]()
    for record in records:
        steps = zip(record.counts, (0, *record.counts), strict=False)
        for time, (now, before) in zip(record.times, steps, strict=False):
            found[place(time)] += now - before
    return found


def _busy(records: Sequence[RequestRecord], start: float, end: float) -> float:
    """Return the seconds that requests were under way between two times, all added up."""
    return math.fsum(max(min(one.ended, end) - max(one.started, start), 0.0) for one in records)


def _median(values: list[float]) -> float | None:
    return rank_value(sorted(values), 50) if values else None


def load_point(label: str, summary: Summary) -> LoadPoint | None:
    """Return where a load lies on the curve; None where it wasn't measured."""
    throughput = summary.request_throughput
    if not summary.ttft or not summary.e2e or throughput is None:
        return None
    return LoadPoint(
        label=label,
        request_throughput=throughput,
        output_throughput=summary.output_throughput,
        ttft_p50=summary.ttft.at(50).value,
        ttft_p99=summary.ttft.at(99).value,
        tpot_p50=summary.tpot.at(50).value if summary.tpot else None,
        e2e_p50=summary.e2e.at(50).value,
    )
