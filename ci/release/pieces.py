"""The evidence of a publication: what each piece is made of, and what is there already."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from ci.registry.oci import digest_of
from ci.release.evidence import sbom, vulnerabilities
from ci.release.evidence.provenance import Material, provenance
from ci.release.evidence.record import record
from ci.release.signing import NoSigner
from ci.release.store import Found, Signed, evidence_of, sign

if TYPE_CHECKING:
    from ci.image.layout import OciLayout
    from ci.image.listing import Installed
    from ci.registry.client import Registry
    from ci.registry.reference import Reference
    from ci.release.signing import Signer, Trust
    from ci.release.where import Where
    from ci.report.model import Report

NAMED = ("sglang", "torch", "transformers", "sgl-kernel", "flashinfer-python", "xgrammar")
"""Distributions whose versions stand in the record."""
RECORD = "record"


@dataclass(frozen=True)
class Publication:
    """What is published, and what is known of it.

    Args:
        layout: The image.
        reference: Where it goes to, with a tag.
        report: What the checks found; None where there were none.
        installed: What is installed in it; None where nobody looked.
        where: Who publishes, and where.
        materials: What its build took in.
        config: The settings of the build, without secrets.
        built: When it says that it was built, UTC; None where it doesn't.
    """

    layout: OciLayout
    reference: Reference
    report: Report | None
    installed: Installed | None
    where: Where
    materials: tuple[Material, ...] = ()
    config: Mapping[str, str] = field(default_factory=dict)
    built: datetime | None = None

    @property
    def subject(self) -> Reference:
        """The image, by its digest."""
        return self.reference.at(self.layout.image.digest)


@dataclass(frozen=True)
class Desk:
    """Where a publication is made, and with what.

    Args:
        registry: The repository.
        signer: Who signs.
        trust: Whose signatures are known, to tell what an earlier attempt got done.
        now: The time, UTC.
        immutable: Whether a tag that names something else is left as it is.
        scan: Looks up the vulnerabilities of a bill of materials.
        progress: Is told in one line each what is done.
    """

    registry: Registry
    signer: Signer
    trust: Trust
    now: datetime
    immutable: bool = True
    scan: Callable[[Mapping[str, Any]], dict[str, Any]] = vulnerabilities.scan
    progress: Callable[[str], None] = lambda _: None


@dataclass(frozen=True)
class Piece:
    """A piece of evidence: there already, or `signed` and still to be attached."""

    kind: str
    digest: str
    signed: Signed | None = None


def kept(publication: Publication, desk: Desk) -> dict[str, Found]:
    """Return what an earlier attempt attached, the newest of each kind.

    The report tells which attempt: what was attached after the same report, by who signed it.
    """
    image = desk.registry.resolve(publication.subject.digest)
    if image is None:
        return {}
    signs = not isinstance(desk.signer, NoSigner)
    found = evidence_of(desk.registry, image, desk.trust).found
    good = [each for each in found if not each.problem and bool(each.signer) == signs]
    told = publication.report and _predicate(publication.report)
    anchors = [each for each in good if each.kind == "report" and each.predicate == told]
    if told and not anchors:
        return {}
    ours = [each for each in good if not told or _belongs(each, anchors[0])]
    return {each.kind: each for each in reversed(ours)}


def _belongs(found: Found, report: Found) -> bool:
    """Tell whether a piece was made by who signed `report`, and about the same run or build."""
    if found.kind == "report":
        return found.predicate == report.predicate
    if found.kind == "vulnerabilities" and vulnerabilities.unsure(found.predicate):
        return False
    later = found.created >= report.created or found.kind == "provenance"
    return later and found.signer == report.signer


def pieces(publication: Publication, desk: Desk, kept: Mapping[str, Found]) -> list[Piece]:
    """Return all evidence, signed where it isn't there already; the record is the last."""
    found = []
    for kind, made in _made(publication, desk).items():
        there = kept.get(kind)
        desk.progress(f"{kind}: {'attached already' if there else 'is made'}")
        found.append(
            Piece(kind, there.bundle) if there else _signed(publication, desk, kind, made())
        )
    named = {piece.kind: piece.digest for piece in found}
    there, told = kept.get(RECORD), _record(publication, desk, named)
    same = ("evidence", "reference")
    if there and all(there.predicate.get(key) == told[key] for key in same):
        return [*found, Piece(RECORD, there.bundle)]
    return [*found, _signed(publication, desk, RECORD, told)]


def _made(publication: Publication, desk: Desk) -> dict[str, Callable[[], dict[str, Any]]]:
    """Return how each kind of evidence is made that there is something to make of."""
    report, installed = publication.report, publication.installed
    made: dict[str, Callable[[], dict[str, Any]]] = {}
    if report:
        made["report"] = partial(_predicate, report)
    if installed:
        bill = partial(sbom.bill, publication.subject, installed, desk.now)
        made["sbom"] = bill
        made["vulnerabilities"] = lambda: desk.scan(bill())
    made["provenance"] = partial(_provenance, publication, desk)
    return made


def _predicate(report: Report) -> dict[str, Any]:
    found: dict[str, Any] = report.model_dump(mode="json")
    return found


def _provenance(publication: Publication, desk: Desk) -> dict[str, Any]:
    finished = publication.report.started if publication.report else desk.now
    return provenance(
        publication.config,
        publication.where.commit,
        publication.materials,
        publication.where,
        started=min(publication.built or finished, finished),
        finished=finished,
    )


def _record(publication: Publication, desk: Desk, named: Mapping[str, str]) -> dict[str, Any]:
    installed = publication.installed
    return record(
        replace(publication.subject, tag=publication.reference.tag),
        publication.report,
        publication.where,
        desk.now,
        inputs={each.name or each.uri: each.identity for each in publication.materials},
        versions=installed.chosen(NAMED) if installed else {},
        evidence=named,
    ).predicate()


def _signed(publication: Publication, desk: Desk, kind: str, predicate: Mapping[str, Any]) -> Piece:
    signed = sign(publication.subject, kind, predicate, desk.signer)
    return Piece(kind, digest_of(signed.bundle), signed)
