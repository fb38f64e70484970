"""Judges boards: a case for each place of a board that asks for a metric of SGLang's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ci.boards.found import FoundSeries, Lack, Problem
from ci.boards.model import Board, Query
from ci.boards.names import NamedSeries, Names, Versions
from ci.boards.query import ask
from ci.contract.model import ContractPart
from ci.report.model import Case
from ci.verdict import Outcome

SHOWN = 160
"""Most characters of an expression in a case's one line."""
FEW = 5
"""Most places that are named where nothing of SGLang's is asked for."""
OUTCOMES = {
    Lack.GONE: Outcome.FAILED,
    Lack.LABEL: Outcome.FAILED,
    Lack.UNSEEN: Outcome.INCONCLUSIVE,
    Lack.REFUSED: Outcome.INCONCLUSIVE,
    Lack.UNREAD: Outcome.INCONCLUSIVE,
    Lack.FEWER: Outcome.PASSED,
}
"""What each problem makes of a case, the worst first."""


def cases(boards: Sequence[Board], old: ContractPart, new: ContractPart) -> Iterator[Case]:
    """Yield a case for each place of the boards.

    Args:
        boards: All boards, those with recording rules for the others among them.
        old: The old version's metrics.
        new: The new version's.
    """
    if why := old.unknown or new.unknown or old.absent:
        for board in boards:
            yield Case(name=board.name, outcome=Outcome.INCONCLUSIVE, message=why)
        return
    versions = _with_rules(boards, Versions.of(old, new))
    for board in boards:
        yield from _of_board(board, versions)


def _of_board(board: Board, versions: Versions) -> Iterator[Case]:
    nothing = list(board.elsewhere)
    for where, queries in _places(board).items():
        found = {query.text: ask(query, board.variables, versions) for query in queries}
        if any(one.series or one.problems for one in found.values()):
            yield _case(f"{board.name}: {where}", found)
        else:
            nothing.append(where)
    if nothing:
        more = f" and {len(nothing) - FEW} more" if len(nothing) > FEW else ""
        message = f"no metric of SGLang's is asked for by {', '.join(nothing[:FEW])}{more}"
        yield Case(name=board.name, outcome=Outcome.SKIPPED, message=message)


def _places(board: Board) -> dict[str, list[Query]]:
    places: dict[str, list[Query]] = {}
    for query in board.queries:
        places.setdefault(query.where, []).append(query)
    return places


def _case(name: str, found: dict[str, FoundSeries]) -> Case:
    problems = [(one, text) for text, each in found.items() for one in each.problems]
    problems.sort(key=lambda pair: list(OUTCOMES).index(pair[0].lack))
    told = [_told(problem, text) for problem, text in problems]
    more = f"; and {len(told) - 1} more" if len(told) > 1 else ""
    return Case(
        name=name,
        outcome=OUTCOMES[problems[0][0].lack] if problems else Outcome.PASSED,
        message=told[0] + more if told else "",
        details="\n".join(told) if more else "",
    )


def _told(problem: Problem, text: str) -> str:
    line = " ".join(text.split())
    line = line if len(line) <= SHOWN else f"{line[:SHOWN]}…"
    return f"{problem.told}, in {line}"


def _with_rules(boards: Sequence[Board], versions: Versions) -> Versions:
    """Return the versions with what the boards' rules record, each rule on top of those before.

    A rule may use one that stands after it, as Prometheus has that one's last value: so they
    are gone through until nothing new comes.
    """
    rules = [(board, query) for board in boards for query in board.queries if query.record]
    for _ in rules:
        then = versions
        for board, rule in rules:
            versions = _recorded(rule, ask(rule, board.variables, versions), versions)
        if versions == then:
            break
    return versions


def _recorded(rule: Query, found: FoundSeries, versions: Versions) -> Versions:
    """Return the versions with what a rule records in each."""
    gone = any(problem.lack is Lack.GONE for problem in found.problems)
    before = [one.before for one in found.series if one.before is not None]
    after = [one.after for one in found.series if one.after is not None and not gone]
    return versions.recording(
        _named(rule, before, versions.before), _named(rule, after, versions.after)
    )


def _named(rule: Query, labels: list[frozenset[str]], names: Names) -> Names:
    if not labels:
        return {}
    known = names.get(rule.record, NamedSeries(frozenset()))
    return {rule.record: NamedSeries(known.labels.union(rule.added, *labels), known.item)}
