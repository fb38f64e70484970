"""Checks the launch flags that a user gives against those that the new version accepts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ci.contract.compare import closest
from ci.contract.model import ContractPart, Facets, Items
from ci.report.model import Case
from ci.verdict import Outcome


@dataclass(frozen=True)
class GivenFlag:
    """A flag as it is given."""

    name: str
    value: str | None = None


def given(words: tuple[str, ...]) -> list[GivenFlag]:
    """Return the flags of a command line; a word after a flag is taken for its value."""
    found: list[GivenFlag] = []
    for word in words:
        name, equals, value = word.partition("=")
        if word.startswith("--"):
            found.append(GivenFlag(name, value if equals else None))
        elif found and found[-1].value is None:
            found[-1] = GivenFlag(found[-1].name, word)
    return found


def cases(words: tuple[str, ...], old: ContractPart, new: ContractPart) -> Iterator[Case]:
    """Yield a case for each flag that is given.

    Args:
        words: The flags with their values.
        old: What the old version takes.
        new: What the new version takes.
    """
    if new.unknown:
        yield Case(name="flags", outcome=Outcome.INCONCLUSIVE, message=new.unknown)
        return
    for flag in dict.fromkeys(given(words)):
        problem, note = judge(flag, old.items, new.items)
        outcome = Outcome.FAILED if problem else Outcome.PASSED
        yield Case(name=f"flag {flag.name}", outcome=outcome, message=problem or note)
    if not words:
        yield Case(name="flags", outcome=Outcome.SKIPPED, message="none is given")


def judge(flag: GivenFlag, old: Items, new: Items) -> tuple[str, str]:
    """Return what is wrong with a flag under the new version, and what is worth knowing."""
    facets = _resolved(new, flag.name)
    if facets is None:
        before = _resolved(old, flag.name) or {}
        more = {name: each for name, each in new.items() if name not in old}
        renamed = closest(flag.name, before, more)
        hint = f"; perhaps renamed to {renamed}" if renamed else ""
        return f"the new version doesn't know it{hint}", ""
    choices = facets.get("choices")
    if choices and flag.value is not None and flag.value not in choices:
        return f"{flag.value} is none of {', '.join(choices)}", ""
    if facets.get("takes") == "nothing" and flag.value is not None:
        return f"it takes no value any more, and {flag.value} is given", ""
    if facets.get("takes") == "a value" and flag.value is None:
        return "it needs a value now", ""
    return "", f"deprecated: {facets.get('help', '')}" if facets.get("deprecated") else ""


def _resolved(items: Items, name: str) -> Facets | None:
    facets = items.get(name)
    first = (facets or {}).get("same as")
    return items.get(first) if isinstance(first, str) else facets
