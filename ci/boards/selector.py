"""What a selector of PromQL matches in the old version and in the new one."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator, Sequence

from promql_parser import Matcher, MatchOp, VectorSelector

from ci.boards.found import FoundSeries, Labels, Lack, MetricSeries, Problem, either
from ci.boards.names import Names, Versions
from ci.boards.union import alternatives
from ci.boards.variables import UNKNOWN

NAME = "__name__"
PATTERNS = (MatchOp.Re, MatchOp.NotRe)
NOBODYS = "a_metric_of_nobody"
"""A name that only such a pattern matches as asks for any name."""
TOLD = 3
"""Most metrics that are named where a pattern matches nothing any more."""


def select(selector: VectorSelector, versions: Versions) -> FoundSeries:
    """Return what a selector yields; nothing where it asks for no metric of SGLang's."""
    own = [Matcher(MatchOp.Equal, NAME, selector.name)] if selector.name else []
    groups = selector.matchers.or_matchers or [selector.matchers.matchers]
    return either(_selected([*own, *group], versions) for group in groups)


def matching(pattern: str, versions: Versions) -> FoundSeries:
    """Return what a pattern of names yields."""
    return _selected([Matcher(MatchOp.Re, NAME, pattern)], versions)


def having(labels: Iterable[str], versions: Versions) -> FoundSeries:
    """Return what has these labels, whatever it is called; nothing where none is SGLang's."""
    before, after = _labels(versions.before), _labels(versions.after)
    known = [label for label in labels if before and label in before]
    lost = [label for label in known if not after or label not in after]
    problems = (Problem(Lack.LABEL, f"no metric has the label {one} any more") for one in lost)
    return FoundSeries((MetricSeries("any metric", before, after),) if known else ()).and_problems(
        problems
    )


def _selected(matchers: Sequence[Matcher], versions: Versions) -> FoundSeries:
    """Return what matchers yield that hold at the same time."""
    names = [one for one in matchers if one.name == NAME]
    labels = [one.name for one in matchers if one.name != NAME]
    if problem := next(filter(None, map(_unreadable, names)), ""):
        return FoundSeries(problems=(Problem(Lack.UNREAD, problem),))
    only = versions.having(_fitting(names, versions.before), _fitting(names, versions.after))
    equal = next((one.value for one in names if one.op == MatchOp.Equal), None)
    if equal is not None:
        return _yielded(equal, only).needing(labels)
    pattern = next((_pattern(one) for one in names if one.op == MatchOp.Re), ".*")
    if re.fullmatch(pattern, NOBODYS):
        return having(labels, only)
    return either(
        _yielded(one, _narrowed(one, only), pattern=True).needing(labels)
        for one in alternatives(pattern)
    )


def _yielded(name: str, only: Versions, *, pattern: bool = False) -> FoundSeries:
    """Return the series of all names that are left in both versions.

    Args:
        name: The name or the pattern of names, as the query has it.
        only: What is left of both versions.
        pattern: Whether it is a pattern.
    """
    if only.before or only.after:
        series = MetricSeries(name, _labels(only.before), _labels(only.after))
        return FoundSeries((series,), tuple(_missed(name, only)))
    problem = only.unseen(name, pattern=pattern)
    return FoundSeries(problems=(problem,) if problem else ())


def _missed(name: str, only: Versions) -> Iterator[Problem]:
    """Yield what the old version had of a name or of a pattern of names, and the new one has not.

    A pattern that still matches something is how a board is written that outlives changes.
    """
    after = {named.item or each for each, named in only.after.items()}
    gone = {
        named.item or each: each
        for each, named in sorted(only.before.items(), reverse=True)
        if (named.item or each) not in after and each not in only.after
    }
    if gone:
        told = "; ".join(map(only.told_gone, sorted(gone.values())[:TOLD]))
        more = f"; and {len(gone) - TOLD} more" if len(gone) > TOLD else ""
        if only.after:
            yield Problem(Lack.FEWER, f"{name} matches fewer metrics: {told}{more}")
        else:
            said = "" if name in only.before else f"nothing matches {name} any more: "
            yield Problem(Lack.GONE, f"{said}{told}{more}")


def _labels(names: Names) -> Labels | None:
    found = [named.labels for named in names.values()]
    return frozenset[str]().union(*found) if found else None


def _narrowed(pattern: str, only: Versions) -> Versions:
    matcher = Matcher(MatchOp.Re, NAME, pattern)
    return only.having(_fitting([matcher], only.before), _fitting([matcher], only.after))


def _fitting(matchers: Sequence[Matcher], names: Names) -> Names:
    return {
        name: named for name, named in names.items() if all(_fits(one, name) for one in matchers)
    }


def _fits(matcher: Matcher, name: str) -> bool:
    if matcher.op in PATTERNS:
        same = re.fullmatch(_pattern(matcher), name) is not None
    else:
        same = name == matcher.value
    return same is (matcher.op in (MatchOp.Equal, MatchOp.Re))


def _pattern(matcher: Matcher) -> str:
    return matcher.value.replace(UNKNOWN, ".*")


def _unreadable(matcher: Matcher) -> str:
    """Return why it can't be told which names a matcher takes; empty where it can."""
    if matcher.op not in PATTERNS:
        known = UNKNOWN not in matcher.value
        return "" if known else "a Grafana variable without values in the file names the metric"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            re.compile(_pattern(matcher))
    except (re.error, FutureWarning) as error:
        return f"{matcher.value} means something else to Prometheus than here: {error}"
    return ""
