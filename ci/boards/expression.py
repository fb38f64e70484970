"""What a PromQL expression asks for, and what of it a new version lacks.

The expression is read by PromQL's own grammar (`promql-parser`) and walked from its selectors
upwards. On the way go the series that are left, each with its labels in the old version and in
the new one, so that a label counts as lost only where it would have been there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product

import promql_parser
from promql_parser import (
    AggModifierType,
    AggregateExpr,
    BinaryExpr,
    BinModifier,
    Call,
    Expr,
    LabelModifierType,
    MatrixSelector,
    ParenExpr,
    StringLiteral,
    SubqueryExpr,
    UnaryExpr,
    VectorMatchCardinality,
    VectorSelector,
)

from ci.boards.found import FoundSeries, Labels, Lack, Problem, either, together
from ci.boards.names import Versions
from ci.boards.selector import select
from ci.boards.variables import TEXT

LONGEST, DEEPEST = 20_000, 300
"""Most characters, and most operators and brackets: the parser's own stack ends beyond them."""
NESTS = re.compile(r"[(\[+\-*/%^<>=!]|\b(?:and|or|unless|atan2)\b")
CHOOSE = {"topk", "bottomk", "limitk", "limit_ratio"}
"""Aggregations that choose some series and leave their labels as they are."""
SETS = {"and", "unless"}
GROUPED = (VectorMatchCardinality.ManyToOne, VectorMatchCardinality.OneToMany)
LABELLERS = {"label_replace", "label_join"}
"""Functions that make a label, their first text, of others, from the third text on."""


def parse(text: str) -> Expr:
    """Return the tree of an expression.

    Raises:
        ValueError: It is none, in the parser's own words, or too long for the parser.
    """
    nests = NESTS.findall(re.sub(TEXT, "", text))
    if len(text) > LONGEST or len(nests) > DEEPEST:
        raise ValueError(f"over {LONGEST} characters, or over {DEEPEST} operators and brackets")
    return promql_parser.parse(text)


class ExpressionReader:
    """Walks expressions.

    Args:
        versions: The metrics of both versions.
    """

    def __init__(self, versions: Versions) -> None:
        self._versions = versions

    def found(self, expr: object) -> FoundSeries:
        """Return what an expression yields, and what is wrong with it."""
        match expr:
            case VectorSelector():
                found = select(expr, self._versions)
            case MatrixSelector():
                found = select(expr.vector_selector, self._versions)
            case ParenExpr() | UnaryExpr() | SubqueryExpr():
                found = self.found(expr.expr)
            case AggregateExpr():
                found = self._aggregated(expr)
            case BinaryExpr():
                found = self._matched(expr)
            case Call():
                found = self._called(expr)
            case _:
                found = FoundSeries()
        return found

    def _aggregated(self, expr: AggregateExpr) -> FoundSeries:
        below = together([self.found(expr.expr), self.found(expr.param)])
        modifier, chooses = expr.modifier, str(expr.op) in CHOOSE
        listed = frozenset(modifier.labels if modifier else ())
        without = modifier is not None and modifier.type == AggModifierType.Without
        counted = {expr.param.val} if isinstance(expr.param, StringLiteral) else set[str]()
        below = below if without else below.needing(sorted(listed))
        if chooses:
            return below
        return below.relabelled(
            lambda labels: (labels - listed if without else labels & listed) | counted
        )

    def _called(self, expr: Call) -> FoundSeries:
        below = together(self.found(one) for one in expr.args)
        texts = [one.val for one in expr.args if isinstance(one, StringLiteral)]
        name = expr.func.name
        if texts and name in LABELLERS:
            made, _, *sources = texts
            needed = sources[:1] if name == "label_replace" else sources
            return below.needing(needed).relabelled(lambda labels: labels | {made})
        if name.startswith("sort_by_label"):
            return below.needing(texts)
        if name.startswith("histogram_"):
            return below.relabelled(lambda labels: labels - {"le"})
        return below

    def _matched(self, expr: BinaryExpr) -> FoundSeries:
        modifier = expr.modifier
        matching = modifier.matching if modifier else None
        listed = frozenset(matching.labels if matching else ())
        on = matching is not None and matching.type == LabelModifierType.Include
        sides = [
            self.found(one).needing(sorted(listed) if on else ()) for one in (expr.lhs, expr.rhs)
        ]
        if str(expr.op) == "or":
            return either(sides)
        left, right = sides
        apart = () if on else _apart(left, right, listed)
        if str(expr.op) in SETS:
            return left.and_problems((*right.problems, *apart))
        if modifier and modifier.card in GROUPED:
            return _grouped(modifier, left, right).and_problems(apart)
        kept = left if left.series else right
        kept = kept.relabelled(lambda labels: labels & listed if on else labels - listed)
        return kept.and_problems((*left.problems, *right.problems, *apart))


def _grouped(modifier: BinModifier, left: FoundSeries, right: FoundSeries) -> FoundSeries:
    """Return the series of the side with many, which take some labels from the side with one."""
    many, one = left, right
    if modifier.card == VectorMatchCardinality.OneToMany:
        many, one = right, left
    taken = modifier.group_labels or []
    whole = many.relabelled(lambda labels: labels | set(taken))
    return whole.and_problems(one.needing(taken).problems)


def _apart(left: FoundSeries, right: FoundSeries, ignored: Labels) -> Iterator[Problem]:
    """Yield a problem for series that had the same labels and so found each other, but no more."""
    for one, other in product(left.series, right.series):
        if one.before is None or other.before is None or one.after is None or other.after is None:
            continue
        differed = (one.before ^ other.before) - ignored
        differs = (one.after ^ other.after) - ignored
        if differs and not differed:
            told = f"{one.name} and {other.name} don't match any more: only one of them has "
            yield Problem(Lack.LABEL, f"{told}the label {', '.join(sorted(differs))}")
