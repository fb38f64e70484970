"""The names under which a query may ask for the metrics of two versions, and their labels."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

from ci.boards.found import Labels, Lack, Problem
from ci.contract.compare import closest
from ci.contract.metrics import ASKERS
from ci.contract.model import ContractPart, Items

OURS = re.compile(r"sglang[:_]")
"""How a metric of SGLang's begins, whoever asks."""
ENDINGS = {"histogram": ("_bucket", "_sum", "_count"), "summary": ("_sum", "_count")}
"""What the samples of a type add to the name of their metric."""
ADDED = {"_bucket": "le"}
"""Labels that a sample has beside those of its metric."""


@dataclass(frozen=True)
class NamedSeries:
    """What a name stands for in one version.

    Args:
        labels: Names of the labels that its samples have.
        item: The metric in the contract; empty for what a rule records.
    """

    labels: Labels
    item: str = ""


Names = Mapping[str, NamedSeries]


def names_of(items: Items) -> dict[str, NamedSeries]:
    """Return each name that a query may use, for any asker."""
    found: dict[str, NamedSeries] = {}
    for item, facets in items.items():
        labels = frozenset(map(str, facets.get("labels", ())))
        for name in {item} | {str(facets.get(f"name for {asker}", item)) for asker in ASKERS}:
            found[name] = NamedSeries(labels, item)
            for ending in ENDINGS.get(str(facets.get("type")), ()):
                more = labels | {ADDED[ending]} if ending in ADDED else labels
                found[f"{name}{ending}"] = NamedSeries(more, item)
    return found


@dataclass(frozen=True)
class Versions:
    """The metrics of two versions.

    Args:
        before: What the old version has.
        after: What the new version has.
        parts: The old version's metrics in its contract, and the new one's.
    """

    before: Names
    after: Names
    parts: tuple[ContractPart, ContractPart]

    @classmethod
    def of(cls, old: ContractPart, new: ContractPart) -> Versions:
        """Return the metrics of two contracts."""
        return cls(names_of(old.items), names_of(new.items), (old, new))

    def recording(self, before: Names, after: Names) -> Self:
        """Return these with the names that rules record."""
        return self.having({**self.before, **before}, {**self.after, **after})

    def having(self, before: Names, after: Names) -> Self:
        """Return these with other names."""
        return replace(self, before=before, after=after)

    def unseen(self, name: str, *, pattern: bool) -> Problem | None:
        """Return what is wrong with a name that neither version has; None for one of others.

        Args:
            name: The name, or the pattern of names, as the query has it.
            pattern: Whether it is a pattern.
        """
        ours = "sglang" in name if pattern else OURS.match(name)
        told = f"{name}: neither version exposed it in what was seen"
        return Problem(Lack.UNSEEN, told) if ours else None

    def told_gone(self, name: str) -> str:
        """Return in words that a name of the old version is gone."""
        old, new = (part.items for part in self.parts)
        item = self.before[name].item
        if not item:
            return f"{name} is recorded no more: its rule asks for what is gone"
        if why := self.parts[1].absent:
            return f"{name} is gone: {why}"
        more = {each: facets for each, facets in new.items() if each not in old}
        renamed = closest(item, old[item], more)
        return f"{name} is gone{f'; perhaps renamed to {renamed}' if renamed else ''}"
