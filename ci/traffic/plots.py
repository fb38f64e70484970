"""Traffic over time: who got it, how fast the answers began, and what was lost."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterator, Sequence

from ci.report.model import Plot, Series
from ci.traffic.findings import by_slot
from ci.traffic.records import Ending, StreamRecord

STRETCHES = 60
"""Most stretches into which the time is cut."""


def plots(records: Sequence[StreamRecord]) -> Iterator[Plot]:
    """Yield the plots of some streams; none of no streams."""
    if not records:
        return
    width = max(max(one.started for one in records) / STRETCHES, 1.0)
    slots = by_slot(records)
    lost = [one for one in records if one.ending is not Ending.GOOD]
    shown = {slot: [one.started for one in own] for slot, own in slots.items()}
    shown["lost"] = [one.ended for one in lost]
    last = int(max(time for times in shown.values() for time in times) / width)
    yield Plot(
        title="Streams by slot, and what was lost",
        x="s",
        y="streams/s",
        kind="step",
        series=tuple(_rate(name, times, width, last) for name, times in shown.items()),
    )
    times = tuple(
        Series(name=slot, points=points)
        for slot, own in slots.items()
        if (points := tuple(_medians(own, width)))
    )
    if times:
        yield Plot(title="TTFT by slot", x="s", y="s, median", kind="points", series=times)


def _rate(name: str, times: Sequence[float], width: float, last: int) -> Series:
    counts = Counter(int(time / width) for time in times)
    points = [(at * width, counts[at] / width) for at in range(last + 1)]
    return Series(name=name, points=(*points, ((last + 1) * width, points[-1][1])))


def _medians(records: Sequence[StreamRecord], width: float) -> Iterator[tuple[float, float]]:
    """Yield each stretch's median time to the first token."""
    found: dict[int, list[float]] = {}
    for one in records:
        if one.ttft is not None:
            found.setdefault(int(one.started / width), []).append(one.ttft)
    for at, times in sorted(found.items()):
        yield (at + 0.5) * width, statistics.median(times)
