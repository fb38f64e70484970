"""A board: a file of queries, each with the place in the file where a person finds it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Query:
    """One query of a board.

    Args:
        where: Where it stands, in a user's words: `panel 'TTFT'`, `line 3`.
        text: The query as it is written, Grafana's variables included.
        record: Name under which a recording rule stores it; empty for all others.
        labels: Labels that a recording rule adds, each with its value.
        variable: Whether it makes the values of a Grafana variable, by Grafana's own functions.
        read: Labels that a variable's regular expression reads from the result.
    """

    where: str
    text: str
    record: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    variable: bool = False
    read: tuple[str, ...] = ()

    @property
    def added(self) -> tuple[str, ...]:
        """Names of the labels that a recording rule adds."""
        return tuple(name for name, _ in self.labels)


@dataclass(frozen=True)
class Board:
    """A file of queries.

    Args:
        name: The file's name.
        queries: What it asks of a Prometheus, in the order of the file.
        variables: Grafana variable to the values that the file names for it.
        elsewhere: Places that ask another kind of database, or whose query isn't in the file.
        defined: Names of all of its variables; None where the file is no dashboard.
    """

    name: str
    queries: tuple[Query, ...]
    variables: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    elsewhere: tuple[str, ...] = ()
    defined: frozenset[str] | None = None
