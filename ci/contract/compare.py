"""Holds one recorded contract against another: what is gone, changed, new or worth knowing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from fnmatch import fnmatchcase
from typing import Any

from ci.contract.model import PARTS, Contract, ContractPart, Facets, Items
from ci.contract.rules import ChangeKind, is_given, weigh

CLOSE = 0.75
"""How alike two names must be for the one to be called the other's new name, of 1."""
OBSERVED = {"answers", "server_info", "model_info"}
"""Parts made of values that were seen, where a null or an empty list hides what is below."""


@dataclass(frozen=True)
class ContractChange:
    """One difference.

    Args:
        part: The contract's part.
        item: What differs.
        kind: What it means.
        facet: What of it differs; empty where all of the item does.
        before: The baseline's side.
        after: The candidate's side.
        hint: What it may have become, or why it can't be judged.
    """

    part: str
    item: str
    kind: ChangeKind
    facet: str = ""
    before: Any = None
    after: Any = None
    hint: str = ""

    @property
    def id(self) -> str:
        """The name under which the settings accept it."""
        return " ".join(filter(None, (self.part, self.item, self.facet)))


@dataclass(frozen=True)
class Compared:
    """What the comparison of one part found.

    Args:
        name: The part.
        items: How many items of the baseline were looked for.
        changes: What differs.
        skipped: Why nothing could be compared, where that is nobody's fault.
        unsure: Why nothing could be compared although the baseline has it.
    """

    name: str
    items: int = 0
    changes: tuple[ContractChange, ...] = ()
    skipped: str = ""
    unsure: str = ""

    def of(self, kind: ChangeKind) -> list[ContractChange]:
        """Return the changes of one kind."""
        return [change for change in self.changes if change.kind is kind]


def compare(baseline: Contract, candidate: Contract) -> list[Compared]:
    """Return what was found, part by part."""
    return [_part(name, baseline.part(name), candidate.part(name)) for name in PARTS]


def _part(name: str, old: ContractPart, new: ContractPart) -> Compared:
    if old.unknown or old.absent or not old.items:
        return Compared(name, skipped=old.unknown or old.absent or "the baseline has none")
    if new.unknown:
        return Compared(name, unsure=new.unknown)
    if new.absent:
        gone = ContractChange(
            name, "all", ChangeKind.BROKEN, before=f"{len(old.items)} items", after="none",
            hint=new.absent,
        )  # fmt: skip
        return Compared(name, len(old.items), (gone,))
    return Compared(name, len(old.items), tuple(_changes(name, old, new)))


def _changes(name: str, old: ContractPart, new: ContractPart) -> Iterator[ContractChange]:
    gone = {item: old.items[item] for item in old.items if item not in new.items}
    more = {item: new.items[item] for item in new.items if item not in old.items}
    for item, facets in _outermost(gone).items():
        yield _gone(name, item, facets, new, more)
    for item, facets in _outermost(more).items():
        if not _left_out(item, old):
            needed = facets.get("required") is True and not is_given(item)
            needed = needed and _below(item, old.items)
            kind = ChangeKind.BROKEN if needed else ChangeKind.NEW
            yield ContractChange(
                name, item, kind, after=facets, hint="a new requirement" if needed else ""
            )
    for item, facets in old.items.items():
        if item in new.items:
            yield from _facets(name, item, facets, _resolved(new.items, item))


def _gone(name: str, item: str, facets: Facets, new: ContractPart, more: Items) -> ContractChange:
    why = _left_out(item, new) or (_hidden(item, new.items) if name in OBSERVED else "")
    if why:
        return ContractChange(name, item, ChangeKind.UNSURE, before=facets, hint=why)
    renamed = closest(item, facets, more)
    if facets.get("state") == "seen" and not renamed:
        why = "the baseline had served others: it may exist only after an event that none made here"
        return ContractChange(name, item, ChangeKind.UNSURE, before=facets, hint=why)
    hint = f"perhaps renamed to {renamed}" if renamed else ""
    return ContractChange(
        name, item, ChangeKind.BROKEN, before=facets, after=more.get(renamed), hint=hint
    )


def _facets(name: str, item: str, old: Facets, new: Facets) -> Iterator[ContractChange]:
    for facet, before in old.items():
        after = new.get(facet)
        kind = weigh(item, facet, before, after) if facet in new else None
        if kind:
            yield ContractChange(name, item, kind, facet, before, after)


def _resolved(items: Items, item: str) -> Facets:
    """Return an item's facets; of a flag's second name, those of its first."""
    facets = items[item]
    first = facets.get("same as")
    return items.get(first, {}) | {"same as": first} if isinstance(first, str) else facets


def _prefixes(item: str) -> Iterator[str]:
    """Yield the names of what `item` may lie in, the nearest first."""
    for place in range(len(item) - 1, 0, -1):
        if item[place] in ". ":
            yield item[:place]


def _outermost(items: Items) -> Items:
    """Return the items that lie in no other of them."""
    return {
        item: facets
        for item, facets in items.items()
        if not any(prefix in items for prefix in _prefixes(item))
    }


def _below(item: str, items: Items) -> bool:
    """Return whether an item lies directly in one of `items`."""
    return any(prefix in items for prefix in _prefixes(item))


def _left_out(item: str, part: ContractPart) -> str:
    return next((why for glob, why in part.left_out.items() if fnmatchcase(item, glob)), "")


def _hidden(item: str, items: Items) -> str:
    """Return why a field can't be seen below a value that is null or an empty list."""
    for prefix in _prefixes(item):
        types = items.get(prefix, {}).get("types")
        if types == []:
            return f"{prefix} is null there"
        if types == ["array"] and f"{prefix}.*" not in items:
            return f"{prefix} is empty there"
    return ""


def closest(item: str, facets: Facets, more: Items) -> str:
    """Return the new item that `item` was perhaps renamed to; empty where none is close.

    Both have to lie in the same place and be of the same type.
    """
    place = next(_prefixes(item), "")
    best, found = CLOSE, ""
    for other, theirs in more.items():
        alike = all(theirs.get(key) == facets.get(key) for key in ("types", "type", "takes"))
        if alike and next(_prefixes(other), "") == place:
            ratio = SequenceMatcher(None, item[len(place) :], other[len(place) :]).ratio()
            best, found = (ratio, other) if ratio > best else (best, found)
    return found
