"""What evidence says inside, and whether that is good enough: one function a kind."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date

from pydantic import ValidationError

from ci.release.evidence.audit import Known
from ci.release.evidence.record import Record
from ci.release.evidence.vulnerabilities import findings, unsure, weigh
from ci.release.store import Evidence, Found
from ci.report.model import Case, Check, Report
from ci.settings import AllowedVulnerability
from ci.verdict import Outcome, Verdict

_NAMED = 20
"""Most packages that one case names."""

Doubt = Callable[[Found], str]
"""Says why a piece does not count; empty where it does."""


def report(found: Found, required: Iterable[str]) -> Iterator[Case]:
    """Yield whether the report PASSED, and each check that it must hold."""
    try:
        told = Report.model_validate(found.predicate)
    except ValidationError as error:
        yield _case("report passed", f"it is no report: {_first(error)}")
        return
    passed = told.verdict is Verdict.PASSED
    yield _case("report passed", "" if passed else f"{told.verdict}: {told.cause}")
    checks = {check.name: check for check in told.checks}
    for name in required:
        yield _case(f"check {name} passed", _check(checks.get(name)))


def _check(check: Check | None) -> str:
    if check is None:
        return "it wasn't run"
    return "" if check.verdict is Verdict.PASSED else f"{check.verdict}: {check.cause}"


def record(found: Found, evidence: Evidence, doubt: Doubt) -> Iterator[Case]:
    """Yield whether the release record is about this digest, and each piece that it names.

    Args:
        found: The record.
        evidence: All evidence on the digest.
        doubt: Says why a piece does not count.
    """
    try:
        told = Record.model_validate(found.predicate)
    except ValidationError as error:
        yield _case("record is whole", f"it is no release record: {_first(error)}")
        return
    about = told.digest == evidence.image.digest
    problem = "" if about else f"it is about another digest, {told.digest}"
    yield _case("record is whole", problem or ("" if told.evidence else "it names no evidence"))
    bundles = {each.bundle: each for each in evidence.found if each.bundle}
    for kind, digest in told.evidence.items():
        yield _case(f"{kind} of the record", _named(kind, bundles.get(digest), doubt))
    named = bundles.get(told.evidence.get("report", ""))
    yield _case("record agrees with its report", _agreement(told, named))


def _agreement(told: Record, named: Found | None) -> str:
    """Return where a record's checks aren't those of the report that it names."""
    if named is None or named.statement is None:
        return "" if not told.checks else "it tells of checks, and there is no report of them"
    try:
        reported = Report.model_validate(named.predicate)
    except ValidationError as error:
        return f"the report is none: {_first(error)}"
    ours = {check.name: check.verdict for check in told.checks}
    theirs = {check.name: check.verdict for check in reported.checks}
    apart = sorted(name for name in ours | theirs if ours.get(name) != theirs.get(name))
    return f"they differ in {', '.join(apart)}" if apart else ""


def _named(kind: str, found: Found | None, doubt: Doubt) -> str:
    if found is None:
        return "tampered with: the piece that the record names is gone or replaced"
    if found.statement and found.kind != kind:
        return f"tampered with: the record names a {found.kind or 'foreign statement'} there"
    problem = doubt(found)
    return f"not as the record names it: {problem}" if problem else ""


def sbom(found: Found) -> Case:
    """Return whether the bill of materials names anything."""
    components = found.predicate.get("components")
    return _case("sbom names components", "" if components else "it names none")


def vulnerabilities(
    found: Found, allowed: Iterable[AllowedVulnerability], today: date
) -> Iterator[Case]:
    """Yield whether vulnerabilities were looked up, and each that was found.

    Args:
        found: The report on vulnerabilities.
        allowed: What is accepted for a while.
        today: The day on which it has to be accepted, UTC.
    """
    looked_up, unknown = "vulnerabilities looked up", unsure(found.predicate)
    if unknown:
        yield Case(name=looked_up, outcome=Outcome.INCONCLUSIVE, message=unknown)
        return
    rules = tuple(allowed)
    try:
        weighed = weigh(findings(found.predicate), rules, today)
    except ValueError as error:
        yield _case(looked_up, str(error))
        return
    yield _case(looked_up, "")
    ended = {rule.id.upper(): rule.until for rule in weighed.expired}
    reasons = {rule.id: rule.reason for rule in rules}
    for known in weighed.refused:
        yield _case(_vulnerability(known), _refusal(known, ended))
    for known, rule in weighed.accepted:
        accepted = f"accepted until {rule.until}: {reasons[rule.id]}"
        yield Case(name=_vulnerability(known), outcome=Outcome.PASSED, message=accepted)
    yield from _unread(found.predicate.get("skipped"))


def _vulnerability(known: Known) -> str:
    return f"{known.id} in {known.purl}"


def _refusal(known: Known, ended: Mapping[str, date]) -> str:
    names = (name.upper() for name in (known.id, *known.aliases))
    until = next((ended[name] for name in names if name in ended), None)
    why = f"accepted until {until} only" if until else "nobody accepts it"
    return f"{why}; fixed in {', '.join(known.fixed_in) or 'no version yet'}"


def _unread(skipped: object) -> Iterator[Case]:
    """Yield what was not looked up, in one case: it is known, and changes no verdict."""
    if isinstance(skipped, list) and skipped:
        packages = [str(each.get("package")) for each in skipped if isinstance(each, Mapping)]
        message = f"{len(skipped)} packages: {', '.join(packages[:_NAMED])}"
        yield Case(name="packages not looked up", outcome=Outcome.SKIPPED, message=message)


def _first(error: ValidationError) -> str:
    """Return the first thing that is wrong."""
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"


def _case(name: str, problem: str) -> Case:
    outcome = Outcome.FAILED if problem else Outcome.PASSED
    return Case(name=name, outcome=outcome, message=problem)
