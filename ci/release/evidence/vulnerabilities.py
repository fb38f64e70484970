"""Known vulnerabilities of what an image has installed.

pip-audit looks them up: Python distributions from an index, by their exact version. What it
can't know is named, as a package that nobody looked up is not one without vulnerabilities.
Which ones are accepted is decided when somebody asks, since acceptance ends by a date.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from importlib.metadata import version
from typing import Any, Protocol

from packaging.utils import InvalidName, canonicalize_name
from packaging.version import InvalidVersion, Version

from ci.release.evidence.audit import OSV, AuditError, Known, Pin, audit
from ci.release.evidence.sbom import UNINDEXED
from ci.report.model import now

BUDGET = 600.0
"""Most seconds for the whole look-up."""


class Allowed(Protocol):
    """A vulnerability that is accepted for a while, as settings name it."""

    @property
    def id(self) -> str:
        """Its identifier, or an alias of it."""

    @property
    def until(self) -> date:
        """The last day on which it is accepted, UTC."""


@dataclass(frozen=True)
class Weighed:
    """Findings, held against what is accepted on a day.

    Args:
        refused: Those that nobody accepts.
        accepted: Those that are accepted, each with what accepts it.
        expired: What would accept a finding, had it not ended.
        unused: What accepts nothing that was found.
    """

    refused: tuple[Known, ...]
    accepted: tuple[tuple[Known, Allowed], ...]
    expired: tuple[Allowed, ...]
    unused: tuple[Allowed, ...]


def scan(
    bill: Mapping[str, Any],
    database: str = OSV,
    budget: float = BUDGET,
    clock: Callable[[], datetime] = now,
) -> dict[str, Any]:
    """Return the predicate on the known vulnerabilities of what a bill of materials lists.

    Where the database can't be asked it says that nothing was looked up, and why.

    Args:
        bill: CycloneDX, as `sbom.bill` makes it.
        database: URL of the OSV query to ask.
        budget: Most seconds for all of it.
        clock: Tells the time, UTC.
    """
    started, scanner = clock(), version("pip-audit")
    pins, skipped, others = _pins(bill)
    known, unanswered, reason = _looked_up(pins, database, budget)
    finished = clock().isoformat()
    updated = {} if reason else {"lastUpdate": finished}  # what is asked is always up to date
    return {
        "scanner": {
            "uri": f"pkg:pypi/pip-audit@{scanner}",
            "version": scanner,
            "db": {"uri": database, **updated},
            "result": [_entry(each) for each in known],
        },
        "metadata": {"scanStartedOn": started.isoformat(), "scanFinishedOn": finished},
        "looked_up": not reason,
        "reason": reason,
        "skipped": [
            {"package": purl, "reason": why} for purl, why in (skipped | unanswered).items()
        ],
        "without_local_version": [pin.purl for pin in pins if pin.shortened],
        "not_covered": others,
    }


def _looked_up(
    pins: Sequence[Pin], database: str, budget: float
) -> tuple[tuple[Known, ...], dict[str, str], str]:
    """Return what is known of the pins, what was not looked up, and why nothing was."""
    if not pins:
        return (), {}, "nothing is installed that could be looked up"
    try:
        return (*audit(pins, database, budget), "")
    except AuditError as error:
        return (), {}, str(error)


def _pins(bill: Mapping[str, Any]) -> tuple[list[Pin], dict[str, str], dict[str, int]]:
    """Return what can be looked up, what can't and why, and how much of other kinds there is."""
    pins: list[Pin] = []
    skipped: dict[str, str] = {}
    others: Counter[str] = Counter()
    for each in bill.get("components", ()):
        purl = each["purl"]
        kind = purl.removeprefix("pkg:").partition("/")[0]
        if kind != "pypi":
            others[kind] += 1
            continue
        pin, reason = _pin(each)
        if pin is None:
            skipped[purl] = reason
        else:
            pins.append(pin)
    return pins, skipped, dict(others)


def _pin(component: Mapping[str, Any]) -> tuple[Pin | None, str]:
    """Return how a distribution is looked up, or why it can't be."""
    if any(one["name"] == UNINDEXED for one in component.get("properties", ())):
        return None, "installed from a URL or folder: no index knows it by this name"
    try:
        name = canonicalize_name(component["name"], validate=True)
        told = Version(component["version"])
    except (InvalidName, InvalidVersion):
        return None, "its name or version is none that an index has"
    return Pin(name, told.public, component["purl"], shortened=told.local is not None), ""


def _entry(known: Known) -> dict[str, Any]:
    told = {"package": known.purl, "aliases": known.aliases, "fixed_in": known.fixed_in}
    return {"id": known.id, "severity": [], "annotations": [told]}


def unsure(predicate: Mapping[str, Any]) -> str:
    """Return why a predicate doesn't tell whether there are vulnerabilities; empty if it does."""
    if predicate.get("looked_up") is True:
        return ""
    return f"not looked up: {predicate.get('reason') or 'it does not say that it was'}"


def findings(predicate: Mapping[str, Any]) -> tuple[Known, ...]:
    """Return the vulnerabilities that a predicate names.

    Raises:
        ValueError: It is malformed; the message is one line.
    """
    try:
        return tuple(_finding(each) for each in predicate["scanner"]["result"])
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError("the vulnerability report is malformed") from error


def _finding(entry: Mapping[str, Any]) -> Known:
    told = (entry.get("annotations") or [{}])[0]
    aliases, fixed_in = tuple(told.get("aliases", ())), tuple(told.get("fixed_in", ()))
    if not all(isinstance(text, str) for text in (entry["id"], *aliases, *fixed_in)):
        raise TypeError("an identifier is no text")
    return Known(entry["id"], aliases, str(told.get("package", "")), fixed_in)


def weigh(known: Iterable[Known], allowed: Iterable[Allowed], today: date) -> Weighed:
    """Hold findings against what is accepted on a day; an alias is as good as an identifier."""
    found, rules = tuple(known), tuple(allowed)
    named = {rule: tuple(one for one in found if _names(rule, one)) for rule in rules}
    valid = [rule for rule in rules if rule.until >= today]
    pairs = ((one, next((rule for rule in valid if one in named[rule]), None)) for one in found)
    accepted = {one: rule for one, rule in pairs if rule is not None}
    return Weighed(
        refused=tuple(one for one in found if one not in accepted),
        accepted=tuple(accepted.items()),
        expired=tuple(rule for rule in rules if rule.until < today and named[rule]),
        unused=tuple(rule for rule in rules if not named[rule]),
    )


def _names(rule: Allowed, known: Known) -> bool:
    identifiers = {identifier.upper() for identifier in (known.id, *known.aliases)}
    return rule.id.upper() in identifiers
