"""Makes a check of a comparison: a case for each breach, with both sides."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import date
from fnmatch import fnmatchcase
from typing import Any

from ci.accepted import Acceptance
from ci.contract.compare import Compared, ContractChange
from ci.contract.rules import SETS, ChangeKind
from ci.report.model import Case
from ci.secrets.veil import beginning
from ci.settings.contract import AcceptedChange
from ci.verdict import Outcome

MOST_CASES = 50
"""Most breaches of one part that have a case of their own."""
SHORT = 80


Allowance = Acceptance[AcceptedChange, ContractChange]


def accepting(rules: tuple[AcceptedChange, ...] = (), today: date = date.min) -> Allowance:
    """Return what `rules` accept on a day, UTC."""
    return Acceptance(rules, _speaks, today)


def broken(compared: Iterable[Compared]) -> Iterator[ContractChange]:
    """Yield the breaches of all parts."""
    return (change for part in compared for change in part.of(ChangeKind.BROKEN))


def _speaks(rule: AcceptedChange, change: ContractChange) -> bool:
    """Return whether a rule names a change: by its facet's name, or by its item's."""
    names = (change.id, f"{change.part} {change.item}")
    return any(fnmatchcase(name, rule.item) for name in names)


def cases(compared: Iterable[Compared], allowance: Allowance) -> Iterator[Case]:
    """Yield the cases of every part."""
    for part in compared:
        if part.skipped:
            yield Case(name=part.name, outcome=Outcome.SKIPPED, message=part.skipped)
        elif part.unsure:
            yield Case(name=part.name, outcome=Outcome.INCONCLUSIVE, message=part.unsure)
        else:
            yield from _of_part(part, allowance)


def _of_part(part: Compared, allowance: Allowance) -> Iterator[Case]:
    breaches = part.of(ChangeKind.BROKEN)
    for change in breaches[:MOST_CASES]:
        yield _case(change, allowance)
    judged = [_case(change, allowance) for change in breaches[MOST_CASES:]]
    worst = [case for case in judged if case.outcome is Outcome.FAILED]
    if worst:
        yield Case(
            name=f"{part.name}: further breaches",
            outcome=Outcome.FAILED,
            message=f"{len(worst)} more",
            details="\n".join(f"{case.name}: {case.message}" for case in worst),
        )
    for change in part.of(ChangeKind.UNSURE):
        yield Case(name=change.id, outcome=Outcome.INCONCLUSIVE, message=told(change))
    kept = part.items - len({change.item for change in breaches})
    if kept > 0:
        yield Case(
            name=part.name,
            outcome=Outcome.PASSED,
            message=f"{kept} of {part.items} kept, {summary(part)}",
            details=listing(part),
        )


def _case(change: ContractChange, allowance: Allowance) -> Case:
    return Case(
        name=change.id,
        outcome=Outcome.PASSED if allowance.accepts(change) else Outcome.FAILED,
        message=": ".join(filter(None, (allowance.told(change), told(change)))),
        details=f"baseline: {_text(change.before)}\ncandidate: {_text(change.after)}",
    )


def told(change: ContractChange) -> str:
    """Return a change in one line."""
    if change.hint and change.kind is ChangeKind.UNSURE:
        return f"can't be seen: {change.hint}"
    hint = f"; {change.hint}" if change.hint else ""
    if change.facet in SETS:
        return _set_told(change) + hint
    if change.facet:
        return f"was {_brief(change.before)}, is {_brief(change.after)}{hint}"
    if change.before is None:
        return f"new{hint}"
    return f"gone{hint}"


def _set_told(change: ContractChange) -> str:
    old, new = _members(change.before), _members(change.after)
    if old is None or new is None:
        return f"was {_brief(change.before)}, is {_brief(change.after)}"
    lost, more = sorted(old - new), sorted(new - old)
    parts = (
        f"without {', '.join(lost)}" if lost else "",
        f"with {', '.join(more)}" if more else "",
    )
    return " and ".join(filter(None, parts))


def _members(value: Any) -> set[str] | None:
    return {str(each) for each in value} if isinstance(value, list) else None


def summary(part: Compared) -> str:
    """Return how much of a part is new or worth knowing."""
    return f"{len(part.of(ChangeKind.NEW))} new, {len(part.of(ChangeKind.NOTICE))} to note"


def listing(part: Compared) -> str:
    """Return what is new and what is worth knowing, a line each."""
    lines = [f"new: {_line(change)}" for change in part.of(ChangeKind.NEW)]
    lines += [f"note: {_line(change)}" for change in part.of(ChangeKind.NOTICE)]
    return "\n".join(lines)


def _line(change: ContractChange) -> str:
    name = f"{change.item} {change.facet}".strip()
    return name if change.before is None and not change.facet else f"{name}: {told(change)}"


def _text(value: Any) -> str:
    return "none" if value is None else json.dumps(value, ensure_ascii=False, sort_keys=True)


def _brief(value: Any) -> str:
    text = _text(value)
    return text if len(text) <= SHORT else f"{beginning(text, SHORT)}…"
