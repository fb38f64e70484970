"""Plots as lines of an SVG: places, ticks and labels, which `macros.html.j2` puts down.

The page that shows them has neither script nor network, so that what a chart library would
bring can't run there.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from ci.report.model import Plot

WIDTH, HEIGHT = 640, 260
LEFT, RIGHT, TOP, BOTTOM = 62, 16, 14, 40
"""The drawing's size, and the margins that hold its labels."""
TICKS = 6
"""About how many ticks an axis gets."""

_STEPS = (1, 2, 5, 10)
_HUGE, _TINY, _SAME = 1e100, 1e-100, 1e-9
"""Sizes at which numbers are cut, and taken for 0; and the share by which equal ones differ."""

Ticks = tuple[tuple[float, str], ...]


@dataclass(frozen=True)
class PlotLine:
    """One series: its name, and either its SVG path or the places of points that none joins."""

    name: str
    path: str
    points: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class Drawing:
    """A plot, laid out: places are in units of the drawing."""

    plot: Plot
    lines: tuple[PlotLine, ...]
    x_ticks: Ticks
    y_ticks: Ticks


@dataclass(frozen=True)
class _Scale:
    """From values to places along one axis; `ticks` lie within the values."""

    low: float
    high: float
    start: float
    end: float

    def place(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self) -> Iterator[tuple[float, str]]:
        step = _step((self.high - self.low) / TICKS)
        for number in range(math.ceil(self.low / step), math.floor(self.high / step) + 1):
            yield round(self.place(number * step), 2), f"{number * step:.10g}"


def drawing(plot: Plot, dotted: Collection[str] = ()) -> Drawing:
    """Lay out `plot`, with the series that `dotted` names as points whatever its kind is."""
    lines = [[(_cut(x), _cut(y)) for x, y in series.points] for series in plot.series]
    x = _scale([point[0] for line in lines for point in line], LEFT, WIDTH - RIGHT)
    y = _scale([point[1] for line in lines for point in line], HEIGHT - BOTTOM, TOP)
    placed = (
        _line(
            series.name,
            [(x.place(one), y.place(other)) for one, other in line],
            "points" if series.name in dotted else plot.kind,
        )
        for series, line in zip(plot.series, lines, strict=True)
    )
    return Drawing(plot, tuple(placed), tuple(x.ticks()), tuple(y.ticks()))


def _scale(values: Sequence[float], start: float, end: float) -> _Scale:
    """Return a scale that holds all values, and 0 where they are near it."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    if 0 < low <= high / 2:
        low = 0.0
    size = max(abs(low), abs(high))
    if high - low <= _SAME * size or size < _TINY:
        room = size / 2 if size >= _TINY else 1.0
        low, high = low - room, high + room
    return _Scale(low, high, start, end)


def _step(least: float) -> float:
    """Return the smallest of 1, 2 and 5 times a power of ten that is at least `least`."""
    power = 10.0 ** math.floor(math.log10(least))
    return power * next(step for step in _STEPS if step * power >= least * (1 - 1e-9))


def _cut(value: float) -> float:
    return max(-_HUGE, min(value, _HUGE))


def _line(name: str, places: Sequence[tuple[float, float]], kind: str) -> PlotLine:
    """Return a line, which as steps goes across before it goes up; one place is a point."""
    if kind == "points" or len(places) < 2:  # noqa: PLR2004 - one point is no line
        return PlotLine(name, "", tuple(places))
    first, *others = places
    to = "H{:.1f}V{:.1f}" if kind == "step" else "L{:.1f} {:.1f}"
    path = f"M{first[0]:.1f} {first[1]:.1f}" + "".join(to.format(*place) for place in others)
    return PlotLine(name, path)
