"""From reports to series: the same figure of the same check, in the order of the reports."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal

from ci.errors import UsageError
from ci.report.model import Check, Figure, Report
from ci.report.write import REPORT_JSON, load
from ci.verdict import Verdict


@dataclass(frozen=True)
class Point:
    """One report's value of a figure.

    Args:
        time: When that report was begun, UTC.
        value: The figure, in the unit of its series.
        believed: Whether the check that measured it PASSED in a run that nobody interrupted.
    """

    time: datetime
    value: float
    believed: bool


@dataclass(frozen=True)
class TrendLine:
    """One figure over time.

    Args:
        check: The check that measures it.
        name: The figure's name; numbered where a report has it more than once.
        unit: Its unit.
        better: Which way is better: `lower`, `higher`, or neither.
        points: One a report, the oldest first.
    """

    check: str
    name: str
    unit: str
    better: Literal["lower", "higher", ""]
    points: tuple[Point, ...]

    @property
    def believed(self) -> tuple[Point, ...]:
        """The points that count."""
        return tuple(point for point in self.points if point.believed)


@dataclass(frozen=True)
class History:
    """Many reports as series.

    Args:
        reports: How many there are.
        lines: Their figures.
        unread: What could not be read, a line each.
    """

    reports: int
    lines: tuple[TrendLine, ...]
    unread: tuple[str, ...] = field(default=())


def read(paths: Iterable[Path]) -> History:
    """Read every report among files and folders, and in folders below those.

    Raises:
        UsageError: There is no report that can be read.
    """
    reports: list[Report] = []
    unread: list[str] = []
    for file in dict.fromkeys(file.resolve() for path in paths for file in _files(path)):
        try:
            reports.append(load(file))
        except UsageError as error:
            unread.append(str(error))
    if not reports:
        raise UsageError("; ".join(unread) or f"there is no {REPORT_JSON} in what was named")
    reports.sort(key=lambda report: report.started)
    return History(len(reports), tuple(_lines(reports)), tuple(unread))


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from sorted(path.rglob(REPORT_JSON))
    else:
        yield path


def _lines(reports: Iterable[Report]) -> Iterator[TrendLine]:
    """Yield the series of figures, check by check, each with the points of all its reports."""
    found: dict[str, dict[tuple[str, str], list[Point]]] = {}
    better: dict[tuple[str, str, str], Literal["lower", "higher", ""]] = {}
    for report in reports:
        for check, name, figure in _named(report):
            believed = check.verdict is Verdict.PASSED and not report.interrupted
            better[check.name, name, figure.unit] = figure.better
            points = found.setdefault(check.name, {}).setdefault((name, figure.unit), [])
            points.append(Point(report.started, figure.value, believed))
    for of, lines in found.items():
        for (name, unit), points in lines.items():
            yield TrendLine(of, name, unit, better[of, name, unit], tuple(points))


def _named(report: Report) -> Iterator[tuple[Check, str, Figure]]:
    """Yield a report's figures, each under a name that its check has once."""
    seen = Counter[tuple[str, str, str]]()
    for check in report.checks:
        for figure in check.figures:
            key = (check.name, figure.name, figure.unit)
            seen[key] += 1
            yield check, figure.name if seen[key] == 1 else f"{figure.name} ({seen[key]})", figure
