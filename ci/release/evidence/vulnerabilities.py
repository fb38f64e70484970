"""Known vulnerabilities of what an image has installed.

pip-audit looks them up: Python distributions from an index, by their exact version. What it
can't know is named, as a package that nobody looked up is not one without vulnerabilities.
Which ones are accepted is decided when somebody asks, since acceptance ends by a date.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from packaging.utils import InvalidName, canonicalize_name
from packaging.version import InvalidVersion, Version

from ci.accepted import Acceptance
from ci.release.audit import OSV, AuditError, KnownVulnerability, Pin, audit
from ci.release.evidence.sbom import UNINDEXED, bill
from ci.release.kind import EvidenceKind, Judging, Table, judged
from ci.report.model import Case, now
from ci.settings import AllowedVulnerability
from ci.verdict import Outcome

if TYPE_CHECKING:
    from ci.release.found import FoundPiece
    from ci.release.publication import Making

BUDGET = 600.0
"""Most seconds for the whole look-up."""
_NAMED = 20
"""Most packages that one case names."""


class VulnerabilitiesKind(EvidenceKind):
    """Known vulnerabilities of what an image has installed."""

    name = "vulnerabilities"
    predicate_type = "https://in-toto.io/attestation/vulns/v0.1"
    created = ("metadata", "scanFinishedOn")

    def make(self, making: Making) -> dict[str, Any] | None:
        """Look them up; None where nobody looked into the image."""
        publication = making.publication
        if publication.installed is None:
            return None
        listed = bill(publication.subject, publication.installed, making.now)
        return scan(listed, making.settings.vulnerabilities.database)

    def stays(self, piece: FoundPiece, making: Making) -> bool:  # noqa: ARG002 - of all
        """Return whether it tells anything: what could not be looked up is looked up again."""
        return not unsure(piece.predicate)

    def judge(self, piece: FoundPiece, judging: Judging) -> Iterator[Case]:
        """Yield whether vulnerabilities were looked up, and each that was found."""
        looked_up, unknown = "vulnerabilities looked up", unsure(piece.predicate)
        if unknown:
            yield Case(name=looked_up, outcome=Outcome.INCONCLUSIVE, message=unknown)
            return
        try:
            found = findings(piece.predicate)
        except ValueError as error:
            yield judged(looked_up, str(error))
            return
        yield judged(looked_up, "")
        allowed = Acceptance(judging.settings.vulnerabilities.allow, names, judging.today)
        yield from (_case(known, allowed) for known in found)
        yield from _unread(piece.predicate.get("skipped"))

    def tables(self, piece: FoundPiece) -> Iterator[Table]:
        """Yield each that was found, or why nothing is known of any."""
        unknown = unsure(piece.predicate)
        try:
            known = () if unknown else findings(piece.predicate)
        except ValueError as error:
            unknown, known = str(error), ()
        rows = [(each.id, each.purl, ", ".join(each.fixed_in)) for each in known]
        rows += [(unknown, "", "")] if unknown else []
        yield Table("Vulnerabilities", ("id", "package", "fixed in"), tuple(rows))


def names(rule: AllowedVulnerability, known: KnownVulnerability) -> bool:
    """Return whether a rule is about a vulnerability: an alias is as good as an identifier."""
    identifiers = {identifier.upper() for identifier in (known.id, *known.aliases)}
    return rule.id.upper() in identifiers


def _case(
    known: KnownVulnerability, allowed: Acceptance[AllowedVulnerability, KnownVulnerability]
) -> Case:
    name, told = f"{known.id} in {known.purl}", allowed.told(known)
    if allowed.accepts(known):
        return Case(name=name, outcome=Outcome.PASSED, message=told)
    fixed = f"fixed in {', '.join(known.fixed_in) or 'no version yet'}"
    return judged(name, f"{told or 'nobody accepts it'}; {fixed}")


def _unread(skipped: object) -> Iterator[Case]:
    """Yield what was not looked up, in one case: it is known, and changes no verdict."""
    if isinstance(skipped, list) and skipped:
        packages = [str(each.get("package")) for each in skipped if isinstance(each, Mapping)]
        message = f"{len(skipped)} packages: {', '.join(packages[:_NAMED])}"
        yield Case(name="packages not looked up", outcome=Outcome.SKIPPED, message=message)


def scan(
    listed: Mapping[str, Any],
    database: str = OSV,
    budget: float = BUDGET,
    clock: Callable[[], datetime] = now,
) -> dict[str, Any]:
    """Return the predicate on the known vulnerabilities of what a bill of materials lists.

    Where the database can't be asked it says that nothing was looked up, and why.

    Args:
        listed: CycloneDX, as `sbom.bill` makes it.
        database: URL of the OSV query to ask.
        budget: Most seconds for all of it.
        clock: Tells the time, UTC.
    """
    started, scanner = clock(), version("pip-audit")
    pins, skipped, others = _pins(listed)
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
) -> tuple[tuple[KnownVulnerability, ...], dict[str, str], str]:
    """Return what is known of the pins, what was not looked up, and why nothing was."""
    if not pins:
        return (), {}, "nothing is installed that could be looked up"
    try:
        return (*audit(pins, database, budget), "")
    except AuditError as error:
        return (), {}, str(error)


def _pins(listed: Mapping[str, Any]) -> tuple[list[Pin], dict[str, str], dict[str, int]]:
    """Return what can be looked up, what can't and why, and how much of other kinds there is."""
    pins: list[Pin] = []
    skipped: dict[str, str] = {}
    others: Counter[str] = Counter()
    for each in listed.get("components", ()):
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


def _entry(known: KnownVulnerability) -> dict[str, Any]:
    told = {"package": known.purl, "aliases": known.aliases, "fixed_in": known.fixed_in}
    return {"id": known.id, "severity": [], "annotations": [told]}


def unsure(predicate: Mapping[str, Any]) -> str:
    """Return why a predicate doesn't tell whether there are vulnerabilities; empty if it does."""
    if predicate.get("looked_up") is True:
        return ""
    return f"not looked up: {predicate.get('reason') or 'it does not say that it was'}"


def findings(predicate: Mapping[str, Any]) -> tuple[KnownVulnerability, ...]:
    """Return the vulnerabilities that a predicate names.

    Raises:
        ValueError: It is malformed; the message is one line.
    """
    try:
        return tuple(_finding(each) for each in predicate["scanner"]["result"])
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError("the vulnerability report is malformed") from error


def _finding(entry: Mapping[str, Any]) -> KnownVulnerability:
    told = (entry.get("annotations") or [{}])[0]
    aliases, fixed_in = tuple(told.get("aliases", ())), tuple(told.get("fixed_in", ()))
    if not all(isinstance(text, str) for text in (entry["id"], *aliases, *fixed_in)):
        raise TypeError("an identifier is no text")
    return KnownVulnerability(entry["id"], aliases, str(told.get("package", "")), fixed_in)


KIND = VulnerabilitiesKind()
