"""Which wrong answers are known, and accepted for a while."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Literal

from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from ci.settings.fuzz import KnownDefect

PACKAGED = Path(__file__).with_name("known.toml")


def packaged() -> tuple[KnownDefect, ...]:
    """Return the defects that are known of SGLang itself."""
    found = tomllib.loads(PACKAGED.read_text(encoding="utf-8"))
    return tuple(KnownDefect(**entry) for entry in found["known"])


@dataclass
class Known:
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
    def of(cls, entries: Sequence[KnownDefect], version: str, today: date) -> Known:
        """Return the entries that are of `version`, by the day on which they end."""
        here = [one for one in entries if _is_of(one, version)]
        return cls(
            tuple(one for one in here if one.until >= today),
            tuple(one for one in here if one.until < today),
        )

    def withheld(self, operation: str, body: str) -> KnownDefect | None:
        """Return why a request isn't sent; None where it is."""
        return self._met(match(self.valid, operation, "withheld", body))

    def accepted(self, operation: str, wrong: str) -> KnownDefect | None:
        """Return the defect that a wrong answer is; None for an unknown one."""
        return self._met(match(self.valid, operation, "answer", wrong))

    def _met(self, found: KnownDefect | None) -> KnownDefect | None:
        if found is not None:
            self.met[found.id] += 1
        return found


def match(
    entries: Sequence[KnownDefect], operation: str, key: Literal["answer", "withheld"], text: str
) -> KnownDefect | None:
    """Return the first entry of an operation whose `key` is found in `text`; None for none."""
    for one in entries:
        pattern = one.answer if key == "answer" else one.withheld
        if pattern and re.fullmatch(one.operation, operation) and re.search(pattern, text):
            return one
    return None


def _is_of(entry: KnownDefect, version: str) -> bool:
    """Return whether an entry is of a version; one that isn't known could be any."""
    if not entry.versions:
        return True
    try:
        return Version(version) in SpecifierSet(entry.versions, prereleases=True)
    except InvalidVersion:
        return True
