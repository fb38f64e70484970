"""Whether each query of boards and rules finds on a server what it asks for, as it is stored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ci.boards.found import FoundSeries, Lack, Problem
from ci.boards.model import Board, Query
from ci.boards.query import ask
from ci.boards.variables import references
from ci.observe.stored import ENGINES, StoredNames, beginning
from ci.report.model import Case
from ci.verdict import Outcome

SHOWN = 160
"""Most characters of an expression in a case's one line."""
FEW = 5
"""Most places that are named in one line."""
ALERT = "alert "
"""How the place of an alert begins: it has no data as long as all is well."""
OUTCOMES = {
    Lack.SPELLED: Outcome.FAILED,
    Lack.UNSEEN: Outcome.FAILED,
    Lack.FOREIGN: Outcome.FAILED,
    Lack.GONE: Outcome.FAILED,
    Lack.LABEL: Outcome.FAILED,
    Lack.REFUSED: Outcome.FAILED,
    Lack.EVENT: Outcome.SKIPPED,
    Lack.UNREAD: Outcome.SKIPPED,
    Lack.FEWER: Outcome.PASSED,
}
"""What each problem makes of a place, the worst first."""
CURE = """\
metric_relabel_configs:
  - source_labels: [__name__]
    regex: {stored}(.+)
    target_label: __name__
    replacement: {asked}$1"""


@dataclass(frozen=True)
class Place:
    """A place of a board: a panel, a variable, an alert, a rule, a line.

    Args:
        board: Its board.
        where: What a person calls it.
        queries: What it asks.
        found: Each text of a query to what it finds; nothing where that is others' matter.
    """

    board: Board
    where: str
    queries: tuple[Query, ...]
    found: dict[str, FoundSeries]

    @property
    def name(self) -> str:
        """The name of its case."""
        return f"{self.board.name}: {self.where}"

    @property
    def ours(self) -> bool:
        """Whether it asks for anything that a server of ours should have."""
        return any(one.series or one.problems for one in self.found.values())

    @property
    def alert(self) -> bool:
        """Whether it is an alert."""
        return self.where.startswith(ALERT)

    @property
    def problems(self) -> list[tuple[Problem, str]]:
        """What is wrong, each with the query's text, the worst first."""
        found = [(one, text) for text, each in self.found.items() for one in each.problems]
        return sorted(found, key=lambda pair: list(OUTCOMES).index(pair[0].lack))

    @property
    def outcome(self) -> Outcome:
        """What that makes of it; a place of which a part is there is none that is left out."""
        worst = OUTCOMES[self.problems[0][0].lack] if self.problems else Outcome.PASSED
        part = any(one.series for one in self.found.values())
        return Outcome.PASSED if worst is Outcome.SKIPPED and part else worst


def places(boards: Sequence[Board], stored: StoredNames) -> list[Place]:
    """Return every place of the boards, with what it finds.

    Args:
        boards: All boards, those with recording rules for the others among them.
        stored: What the server has, without what the rules record.
    """
    known = stored.with_rules(boards)

    def place(board: Board, where: str, queries: Sequence[Query]) -> Place:
        found = {one.text: _found(one, board, known) for one in queries}
        return Place(board, where, tuple(queries), found)

    return [
        place(board, where, queries)
        for board in boards
        for where, queries in _by_place(board).items()
    ]


def _found(query: Query, board: Board, known: StoredNames) -> FoundSeries:
    found = ask(query, board.variables, known)
    if board.defined is None:
        return found
    lost = [one for one in references(query.text) if one not in board.defined]
    told = (
        f"${one} is a variable that the dashboard doesn't define"
        for one in lost
        if not (one.startswith("__") or one.isdigit())  # Grafana's own; a group of label_replace
    )
    return found.and_problems(Problem(Lack.REFUSED, one) for one in told)


def _by_place(board: Board) -> dict[str, list[Query]]:
    found: dict[str, list[Query]] = {}
    for query in board.queries:
        found.setdefault(query.where, []).append(query)
    return found


def cases(board: Board, found: Sequence[Place]) -> Iterator[Case]:
    """Yield a case for each place of a board that asks for something of ours.

    A board of another engine is one case, and so is all that asks others.
    """
    mine = [one for one in found if one.ours]
    strange = [one for one in mine if one.problems and one.problems[0][0].lack is Lack.FOREIGN]
    if strange and not any(each.series for one in mine for each in one.found.values()):
        yield _foreign(board, strange)
        mine = [one for one in mine if one not in strange]
    for place in mine:
        yield _case(place)
    nothing = [*board.elsewhere, *(one.where for one in found if not one.ours)]
    if nothing:
        message = f"nothing of this server's is asked for by {_listed(nothing)}"
        yield Case(name=board.name, outcome=Outcome.SKIPPED, message=message)


def _foreign(board: Board, strange: Sequence[Place]) -> Case:
    """Return the one case of a board that was made for another engine."""
    names = [problem.told for one in strange for problem, _ in one.problems]
    whose = dict.fromkeys(ENGINES.get(beginning(one), "another engine") for one in names)
    return Case(
        name=f"{board.name}: whole board",
        outcome=Outcome.FAILED,
        message=f"a board for {', '.join(whose)}, not for this server: "
        f"all {len(strange)} places that ask for it stay empty: "
        f"{_listed([one.where for one in strange])}",
        details="\n".join(f"{one.where}: {one.problems[0][0].told}" for one in strange),
    )


def _case(place: Place) -> Case:
    told = [_told(problem, text) for problem, text in place.problems]
    more = f"; and {len(told) - 1} more" if len(told) > 1 else ""
    cures = dict.fromkeys(filter(None, map(_cure, (one for one, _ in place.problems))))
    lines = told if more else []
    return Case(
        name=place.name,
        outcome=place.outcome,
        message=told[0] + more if told else "",
        details="\n".join([*lines, *cures]),
    )


def _told(problem: Problem, text: str) -> str:
    return f"{problem.told.replace(' any more', '')}, in {shortened(text)}"


def shortened(text: str) -> str:
    """Return an expression in one line of bounded length."""
    line = " ".join(text.split())
    return line if len(line) <= SHOWN else f"{line[:SHOWN]}…"


def _cure(problem: Problem) -> str:
    """Return what mends a name that is stored under another one; empty for anything else."""
    if problem.lack is not Lack.SPELLED:
        return ""
    asked, _, stored = problem.told.partition(" stores ")[2].partition(" as ")
    return "the scrape's cure:\n" + CURE.format(stored=head(stored), asked=head(asked))


def head(name: str) -> str:
    """Return how a metric's name begins, with the `:` or `_` after it."""
    ends = [name.find(one) for one in ":_" if one in name]
    return name[: min(ends) + 1] if ends else name


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - FEW} more" if len(names) > FEW else ""
    return f"{', '.join(names[:FEW])}{more}"
