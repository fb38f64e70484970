"""What one query of a board asks for: its variables filled in, Grafana's functions taken off."""

from __future__ import annotations

import re
from collections.abc import Iterator

import promql_parser

from ci.boards.expression import ExpressionReader, parse
from ci.boards.found import FoundSeries, Lack, Problem, together
from ci.boards.model import Query
from ci.boards.names import Versions
from ci.boards.selector import having, matching
from ci.boards.variables import Values, turns

FUNCTION = re.compile(r"(label_values|label_names|metrics|query_result)\s*\((.*)\)", re.DOTALL)
"""Grafana's own functions, which make a variable's values."""
LABEL = re.compile(r'(?:(.+),)?\s*"?([\w.]+)"?\s*', re.DOTALL)
"""What `label_values` is given: a selector, which may be left out, and a label."""


def ask(query: Query, values: Values, versions: Versions) -> FoundSeries:
    """Return what a query asks for, with every value that its variables may have.

    Args:
        query: The query.
        values: Grafana variable to its values.
        versions: The metrics of both versions.
    """
    reader = _QueryReader(query, versions)
    return together(reader.found(texts) for texts in turns(query.text, values))


class _QueryReader:
    """Reads one query against both versions."""

    def __init__(self, query: Query, versions: Versions) -> None:
        self._query, self._versions = query, versions

    def found(self, texts: Iterator[str]) -> FoundSeries:
        """Return what the first text with a selector asks for, else the first that is read."""
        read: list[FoundSeries] = []
        refused = ""
        for text in texts:
            try:
                found, selects = self._read(text)
            except RecursionError:
                refused = refused or "it is nested too deeply"
            except ValueError as error:
                refused = refused or str(error)
            else:
                read = [*read, found]
                if selects:
                    return found
        told = f"PromQL's parser refuses it: {refused}"
        return read[0] if read else FoundSeries(problems=(Problem(Lack.REFUSED, told),))

    def _read(self, text: str) -> tuple[FoundSeries, bool]:
        """Return what a text asks for, and whether it selects anything."""
        function = FUNCTION.fullmatch(text) if self._query.variable else None
        name, inside = function.groups() if function else ("", text)
        if name == "metrics":
            return matching(f".*(?:{inside}).*", self._versions), True
        if name == "label_values":
            return self._values(inside), True
        if name == "label_names" and not inside.strip():
            return FoundSeries(), True
        expr = parse(inside)
        read = ExpressionReader(self._versions).found(expr).needing(self._query.read)
        return read, _selects(expr)

    def _values(self, inside: str) -> FoundSeries:
        given = LABEL.fullmatch(inside)
        if given is None:
            raise ValueError(f"label_values({inside}) names no label")
        selector, label = given.groups()
        if selector:
            return ExpressionReader(self._versions).found(parse(selector)).needing([label])
        return having([label], self._versions)


def _selects(expr: promql_parser.Expr) -> bool:
    seen: list[bool] = []

    def visit(one: promql_parser.Expr) -> None:
        seen.append(isinstance(one, promql_parser.VectorSelector | promql_parser.MatrixSelector))

    promql_parser.walk(expr, visit)
    return any(seen)
