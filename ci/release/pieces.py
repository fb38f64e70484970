"""The evidence of a publication: what each piece is made of, and what is there already."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from ci.registry.oci import digest_of
from ci.release.kinds import EVIDENCE
from ci.release.publication import Making, Publication
from ci.release.signing import NoSigner
from ci.release.store import Signed, evidence_of, sign

if TYPE_CHECKING:
    from ci.registry.client import Registry
    from ci.release.found import FoundPiece
    from ci.release.kind import EvidenceKind
    from ci.release.signing import Signer, Trust
    from ci.settings import Settings


@dataclass(frozen=True)
class Desk:
    """Where a publication is made, and with what.

    Args:
        registry: The repository.
        signer: Who signs.
        trust: Whose signatures are known, to tell what an earlier attempt got done.
        now: The time, UTC.
        settings: The settings in force.
        progress: Is told in one line each what is done.
    """

    registry: Registry
    signer: Signer
    trust: Trust
    now: datetime
    settings: Settings
    progress: Callable[[str], None] = lambda _: None


@dataclass(frozen=True)
class Piece:
    """A piece of evidence: there already, or `signed` and still to be attached."""

    kind: str
    digest: str
    signed: Signed | None = None


def kept(publication: Publication, desk: Desk) -> dict[str, tuple[FoundPiece, ...]]:
    """Return what an earlier attempt attached, by kind, the newest first.

    The report tells which attempt: what was attached after the same report, by who signed it.
    """
    image = desk.registry.resolve(publication.subject.digest)
    if image is None:
        return {}
    signs = not isinstance(desk.signer, NoSigner)
    found = evidence_of(desk.registry, image, desk.trust).found
    whole = [each for each in found if not each.problem and bool(each.signer) == signs]
    good = {kind: tuple(each for each in whole if each.kind == kind) for kind in EVIDENCE}
    if publication.report is None:
        return good
    report, making = next(iter(EVIDENCE.values())), Making(publication, desk.settings, desk.now, {})
    anchor = next((each for each in good[report.name] if report.stays(each, making)), None)
    if anchor is None:
        return {}
    return {
        kind: tuple(each for each in pieces if _belongs(each, anchor))
        for kind, pieces in good.items()
    }


def _belongs(found: FoundPiece, report: FoundPiece) -> bool:
    """Return whether a piece was made by who signed `report`, about the same run or build."""
    later = found.created >= report.created or EVIDENCE[found.kind].of_the_build
    return later and found.signer == report.signer


def pieces(
    publication: Publication, desk: Desk, kept: Mapping[str, tuple[FoundPiece, ...]]
) -> list[Piece]:
    """Return all evidence, signed where it isn't there already, in the order of attaching."""
    found: list[Piece] = []
    for kind in EVIDENCE.values():
        named = {piece.kind: piece.digest for piece in found}
        making = Making(publication, desk.settings, desk.now, named)
        piece = _piece(kind, making, desk, kept.get(kind.name, ()))
        found += [piece] if piece else []
    return found


def _piece(
    kind: EvidenceKind, making: Making, desk: Desk, kept: tuple[FoundPiece, ...]
) -> Piece | None:
    """Return a piece of one kind; None where there is nothing to make it of."""
    there = next((each for each in kept if kind.stays(each, making)), None)
    if there:
        desk.progress(f"{kind.name}: attached already")
        return Piece(kind.name, there.bundle)
    desk.progress(f"{kind.name}: is made")
    predicate = kind.make(making)
    if predicate is None:
        desk.progress(f"{kind.name}: there is nothing to make it of")
        return None
    signed = sign(making.publication.subject, kind.name, predicate, desk.signer)
    return Piece(kind.name, digest_of(signed.bundle), signed)
