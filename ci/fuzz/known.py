"""Which wrong answers are known, and accepted for a while."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from ci.fuzz.drawn import DrawnRequest
from ci.settings.fuzz import KnownDefect

PACKAGED = Path(__file__).with_name("known.toml")


def packaged() -> tuple[KnownDefect, ...]:
    """Return the defects that are known of SGLang itself."""
    found = tomllib.loads(PACKAGED.read_text(encoding="utf-8"))
    return tuple(KnownDefect(**entry) for entry in found["known"])


@dataclass
class KnownDefects:
    """The defects that count for one server today.

    Args:
        valid: Those that are accepted.
        expired: Those that were, and whose answers count again.
        met: How often each was met.
    """

    valid: tuple[KnownDefect, ...]
    expired: tuple[KnownDefect, ...]
    met: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, entries: Sequence[KnownDefect], version: str, today: date) -> KnownDefects:
        """Return the entries that are of `version`, by the day on which they end."""
        here = [one for one in entries if _is_of(one, version)]
        return cls(
            tuple(one for one in here if one.until >= today),
            tuple(one for one in here if one.until < today),
        )

    def withheld(self, drawn: DrawnRequest) -> KnownDefect | None:
        """Return why a request isn't sent; None where it is."""
        found = (one for one in _of(self.valid, drawn) if one.withheld)
        return self._met(next((one for one in found if re.search(one.withheld, drawn.text)), None))

    def accepted(self, drawn: DrawnRequest, wrong: str) -> KnownDefect | None:
        """Return the defect that a wrong answer is; None for an unknown one."""
        return self._met(defect_of(self.valid, drawn, wrong))

    def _met(self, found: KnownDefect | None) -> KnownDefect | None:
        if found is not None:
            self.met[found.id] += 1
        return found


def defect_of(
    entries: Iterable[KnownDefect], drawn: DrawnRequest, wrong: str
) -> KnownDefect | None:
    """Return the first entry that a wrong answer to a request is; None for none."""
    asked = f"{drawn.target}\n{drawn.text}"
    for one in _of(entries, drawn):
        if one.answer and re.search(one.answer, wrong) and re.search(one.request, asked):
            return one
    return None


def _of(entries: Iterable[KnownDefect], drawn: DrawnRequest) -> Iterator[KnownDefect]:
    return (one for one in entries if re.fullmatch(one.operation, drawn.operation))


def _is_of(entry: KnownDefect, version: str) -> bool:
    """Return whether an entry is of a version; one that isn't known could be any."""
    if not entry.versions:
        return True
    try:
        return Version(version) in SpecifierSet(entry.versions, prereleases=True)
    except InvalidVersion:
        return True
