"""What was found out about a part of an expression: the series it yields, and what they lack."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

Labels = frozenset[str]


class Lack(StrEnum):
    """What is wrong with a part of an expression."""

    GONE = "the new version has no such metric"
    LABEL = "the new version's metric has no such label"
    UNSEEN = "neither version showed such a metric"
    SPELLED = "it is there under another name"
    EVENT = "it begins with an event that nobody has seen"
    FOREIGN = "it is another engine's"
    REFUSED = "PromQL's parser refuses it"
    UNREAD = "it can't be told what is asked for"
    FEWER = "a pattern of names matches fewer metrics, and still some"


ABSENT = {Lack.UNSEEN, Lack.SPELLED, Lack.EVENT, Lack.FOREIGN}
"""What may be wrong with a name that was never there: one beside it may stand in for it."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, or worth knowing, in words."""

    lack: Lack
    told: str


@dataclass(frozen=True)
class MetricSeries:
    """Series of SGLang's metrics, or what was made of them.

    Args:
        name: The metric's name, or the pattern of names, as the query has it.
        before: Their labels in the old version; None where it has no such series.
        after: Their labels in the new version.
    """

    name: str
    before: Labels | None
    after: Labels | None

    def lost(self, label: str) -> bool:
        """Return whether they have had a label that they don't have any more."""
        if self.before is None or self.after is None:
            return False
        return label in self.before and label not in self.after


@dataclass(frozen=True)
class FoundSeries:
    """The series that a part of an expression yields, and what is wrong below it."""

    series: tuple[MetricSeries, ...] = ()
    problems: tuple[Problem, ...] = ()

    def needing(self, labels: Iterable[str]) -> FoundSeries:
        """Return this with a problem for each label that the series have lost."""
        lost = (
            Problem(Lack.LABEL, f"{one.name} is without the label {label}")
            for label in labels
            for one in self.series
            if one.lost(label)
        )
        return self.and_problems(lost)

    def relabelled(self, change: Callable[[Labels], Labels]) -> FoundSeries:
        """Return this with other labels of the series."""
        return replace(
            self,
            series=tuple(
                MetricSeries(
                    one.name,
                    None if one.before is None else change(one.before),
                    None if one.after is None else change(one.after),
                )
                for one in self.series
            ),
        )

    def and_problems(self, more: Iterable[Problem]) -> FoundSeries:
        """Return this with further problems; none is told twice."""
        return replace(self, problems=tuple(dict.fromkeys((*self.problems, *more))))


def together(parts: Iterable[FoundSeries]) -> FoundSeries:
    """Return the series and the problems of several parts, all of which are needed."""
    whole = FoundSeries()
    for part in parts:
        series = tuple(dict.fromkeys((*whole.series, *part.series)))
        whole = FoundSeries(series, whole.problems).and_problems(part.problems)
    return whole


def either(parts: Iterable[FoundSeries]) -> FoundSeries:
    """Return what alternatives yield, one of which may stand in for another.

    A name that no version has shown may belong to a third version, and one that is gone has its
    successor beside it: both are how a board is written that serves several versions.
    """
    whole = together(parts)
    excused = set(ABSENT) if any(one.after is not None for one in whole.series) else set()
    if any(one.before is None for one in whole.series):
        excused.add(Lack.GONE)
    kept = tuple(one for one in whole.problems if one.lack not in excused)
    return replace(whole, problems=kept)
