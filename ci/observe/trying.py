"""Queries as a real Prometheus is asked them, and why one may rightly find nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator

import promql_parser
from promql_parser import BinaryExpr, Call, Expr, Matcher, MatchOp, MatrixSelector, VectorSelector

from ci.boards.expression import parse
from ci.boards.found import Lack
from ci.boards.model import Board, Query
from ci.boards.query import FUNCTION
from ci.boards.variables import UNKNOWN, turns
from ci.observe.catalogue import Catalogue
from ci.observe.contract import Place
from ci.observe.stored import SCRAPES

COMPARES = {">", "<", ">=", "<=", "==", "!="}
SETS = {"and", "unless"}
ABSENT = {"absent", "absent_over_time"}
FEW = 5
"""Most values of a label that are named."""
EXCUSED = (Lack.EVENT, Lack.UNREAD)
_VALUE = r"""\s*(?:=~|=)\s*("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')"""
_MATCHER = re.compile(rf"\b([A-Za-z_]\w*){_VALUE}")


def text_of(query: Query, board: Board, *, here: bool) -> str:
    """Return a query with its variables filled in; empty where nothing makes it PromQL.

    A variable whose values Grafana asks for stands for all of them, since those that were chosen
    when the board was saved are another deployment's.

    Args:
        query: The query.
        board: Its board.
        here: Whether it is for a Prometheus of our own, which knows no namespace and no job.
    """
    asked = {one.where.removeprefix("variable ") for one in board.queries if one.variable}
    values = {name: some for name, some in board.variables.items() if name not in asked}
    texts = next(turns(query.text, values))
    read = ""
    for text in (_opened(one, here=here) for one in texts):
        if query.variable and FUNCTION.fullmatch(text):
            return text
        try:
            expr = parse(text)
        except (ValueError, RecursionError):
            continue
        read = read or text
        if any(_selectors(expr)):
            return text
    return read


def excuse(place: Place, query: Query, text: str, known: Catalogue) -> str:
    """Return why a query may find nothing although all is well; empty where it may not.

    Args:
        place: Its place.
        query: The query.
        text: As it was asked.
        known: What the server exposes.
    """
    problems = place.found[query.text].problems
    if told := next((one.told for one in problems if one.lack in EXCUSED), ""):
        return told
    try:
        expr = parse(text)
    except (ValueError, RecursionError):
        return ""
    if told := next(filter(None, (_unseen(one, known) for one in _selectors(expr))), ""):
        return told
    return next(filter(None, map(_empties, _parts(expr))), "")


def _opened(text: str, *, here: bool) -> str:
    """Return a text whose matchers on what nobody knows here take anything."""

    def matcher(found: re.Match[str]) -> str:
        opens = UNKNOWN in found[2] or (here and found[1] in SCRAPES)
        return f'{found[1]}=~".*"' if opens else found[0]

    return _MATCHER.sub(matcher, text)


def _parts(expr: Expr) -> list[object]:
    found: list[object] = []
    promql_parser.walk(expr, found.append)
    return found


def _selectors(expr: Expr) -> Iterator[VectorSelector]:
    for one in _parts(expr):
        if isinstance(one, MatrixSelector):
            yield one.vector_selector
        elif isinstance(one, VectorSelector):
            yield one


def _unseen(selector: VectorSelector, known: Catalogue) -> str:
    """Return in words that no series has the values that a selector wants."""
    metric = known.metrics.get(selector.name or "")
    if metric is None:
        return ""
    if not metric.numbers:
        return f"{metric.name} is NaN on the page, which not everybody stores"
    for one in selector.matchers.matchers:
        values = {series.get(one.name, "") for series in metric.series}
        if one.name in metric.labels and not any(_fits(one, value) for value in values):
            there = ", ".join(sorted(values)[:FEW])
            return f"{metric.name} has no {one.name} that is {one.value!r} so far, but {there}"
    return ""


def _fits(matcher: Matcher, value: str) -> bool:
    pattern = matcher.op in (MatchOp.Re, MatchOp.NotRe)
    same = _full(matcher.value, value) if pattern else matcher.value == value
    return same is (matcher.op in (MatchOp.Equal, MatchOp.Re))


def _full(pattern: str, value: str) -> bool:
    try:
        return re.fullmatch(pattern, value) is not None
    except re.error:
        return True


def _empties(part: object) -> str:
    """Return in words what about a part of an expression makes an empty result no fault."""
    match part:
        case BinaryExpr() if str(part.op) in COMPARES:
            returns = part.modifier is not None and part.modifier.return_bool
            return "" if returns else f"nothing is {part.op} its threshold"
        case BinaryExpr() if str(part.op) in SETS:
            return f"nothing is left by {part.op}"
        case Call() if part.func.name in ABSENT:
            return "nothing is absent"
        case VectorSelector() if part.offset:
            return "it looks further back than there are data"
    return ""
