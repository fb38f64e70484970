"""A history as one HTML page, and as a table for the terminal."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

from ci.extras import install
from ci.report import html
from ci.report.model import Figure, Plot, Series
from ci.report.svg import Drawing, drawing
from ci.report.text import measured, one_line
from ci.trend.changes import FigureChange
from ci.trend.history import History, TrendLine

_DAY = 86_400.0
_MEGABYTE = 1e6
_DOUBTFUL = "not believed"
WITHOUT = "change points are not marked: Apache Otava isn't installed where this was made"


@dataclass(frozen=True)
class DrawnSeries:
    """One series as the page shows it."""

    line: TrendLine
    latest: str
    before: str
    changes: tuple[str, ...]
    plot: Drawing


def told(line: TrendLine, found: Sequence[FigureChange]) -> DrawnSeries:
    """Return what is said of one series, and its drawing."""
    shown = line.believed or line.points
    earlier = [point.value for point in shown[:-1]]
    before = measured(_figure(line, statistics.median(earlier))) if earlier else ""
    return DrawnSeries(
        line,
        measured(_figure(line, shown[-1].value)),
        before,
        tuple(_change(line, change) for change in found),
        drawing(_plot(line, found), {_DOUBTFUL}),
    )


def _figure(line: TrendLine, value: float) -> Figure:
    return Figure(name=line.name, value=value, unit=line.unit)


def _change(line: TrendLine, change: FigureChange) -> str:
    """Return a change in one line: when, from what to what, and whether that is worse."""
    time = line.believed[change.index].time
    sides = (measured(_figure(line, value)) for value in (change.before, change.after))
    share = "" if change.share is None else f" ({change.share:+.1%})"
    worse = {True: ", worse", False: ", better", None: ""}[change.worse(line)]
    return f"{time:%Y-%m-%d %H:%M}: {' → '.join(sides)}{share}{worse}"


def _plot(line: TrendLine, found: Sequence[FigureChange]) -> Plot:
    """Return a series over days from its first report; stretches between changes as means."""
    first = line.points[0].time
    unit, size = ("MB", _MEGABYTE) if line.unit == "bytes" else (line.unit, 1.0)
    drawn = (
        (line.name, [(point.time, point.value) for point in line.believed]),
        (_DOUBTFUL, [(one.time, one.value) for one in line.points if not one.believed]),
        ("mean between changes", list(_means(line, found))),
    )
    return Plot(
        title=f"{line.check}: {line.name}",
        x=f"days from {first:%Y-%m-%d}",
        y=unit or "value",
        series=tuple(
            Series(
                name=name,
                points=tuple(
                    ((time - first).total_seconds() / _DAY, at / size) for time, at in points
                ),
            )
            for name, points in drawn
            if points
        ),
    )


def _means(line: TrendLine, found: Sequence[FigureChange]) -> Iterator[tuple[datetime, float]]:
    """Yield start and end of each stretch between two changes, with its mean."""
    if not found:
        return
    ends = [0, *(change.index for change in found), len(line.believed)]
    means = [found[0].before, *(change.after for change in found)]
    for mean, start, end in zip(means, ends, ends[1:], strict=False):
        stretch = line.believed[start:end]
        yield stretch[0].time, mean
        yield stretch[-1].time, mean


def render(history: History, drawn: Sequence[DrawnSeries], *, marked: bool) -> str:
    """Return the page; `marked` says whether change points were looked for."""
    checks = [(name, list(some)) for name, some in groupby(drawn, lambda one: one.line.check)]
    template = html.environment("ci.trend").get_template("trend.html.j2")
    return template.render(
        history=history,
        checks=checks,
        style=html.style(),
        hint="" if marked else WITHOUT,
    )


def lines(history: History, drawn: Sequence[DrawnSeries], *, marked: bool) -> Iterator[str]:
    """Yield the same as plain lines: what changed in full, and one line for each figure."""
    yield f"{history.reports} reports, {len(drawn)} figures"
    for one in drawn:
        name = one_line(f"{one.line.check}: {one.line.name}")
        earlier = f" (median before: {one.before})" if one.before else ""
        yield f"{name}: {one.latest}{earlier}"
        yield from (f"  changed {change}" for change in one.changes)
    yield from (f"left out: {one_line(problem)}" for problem in history.unread)
    if not marked:
        yield f"{WITHOUT}; in an environment without SGLang: {install('trend')}"
