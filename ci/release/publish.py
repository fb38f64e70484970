"""Publishing: the image that was proven, all evidence on it, and the record that names it.

Everything is made and signed before anything is pushed, the record is attached last, and what an
earlier attempt got done is kept: so a publication that was cut off is completed by repeating it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ci.errors import RegistryFault, UsageError
from ci.image.push import Pushed, is_there, push
from ci.release.pieces import Desk, Piece, kept, pieces
from ci.release.publication import Publication
from ci.release.store import attach
from ci.report.model import Case
from ci.stages import StageResult, Tell
from ci.verdict import Outcome, Verdict

if TYPE_CHECKING:
    from ci.report.model import Report


@dataclass(frozen=True)
class Published:
    """What was published: the push, and kind of each piece of evidence to its bundle's digest."""

    pushed: Pushed
    evidence: Mapping[str, str]

    def result(self, tell: Tell) -> StageResult:
        """Tell a case for the image, and for each piece; return the rest for the report."""
        done, pushed = Outcome.PASSED, self.pushed
        tell(Case(name="image", outcome=done, seconds=pushed.seconds))
        for kind in self.evidence:
            tell(Case(name=f"{kind} attached", outcome=done))
        return StageResult(
            facts={"reference": str(pushed.reference), "uploaded": f"{pushed.bytes_sent} bytes"}
        )


def publish(publication: Publication, desk: Desk, *, untested: bool = False) -> Published:
    """Push an image and attach its evidence, the record last.

    Args:
        publication: What is published.
        desk: Where, and with what.
        untested: Publish also without a report, or with one that isn't PASSED.

    Raises:
        UsageError: The report isn't PASSED, and nothing was pushed.
        TagTaken: The tag names another digest, and nothing was pushed.
        SigningFault: The key or token can't sign, and nothing was pushed.
        RegistryFault: The registry did not take it all; the message says what is there.
    """
    _refuse_unproven(publication.report, untested=untested)
    digest, immutable = publication.subject.digest, desk.settings.registry.immutable
    is_there(desk.registry, publication.reference, digest, immutable=immutable)
    made = pieces(publication, desk, kept(publication, desk))
    pushed = push(
        publication.layout,
        desk.registry,
        publication.reference,
        immutable=immutable,
        progress=desk.progress,
    )
    missing = [piece for piece in made if piece.signed]
    for number, piece in enumerate(missing):
        with _explained(publication, missing[number:]):
            _attach(publication, desk, piece)
    return Published(pushed, {piece.kind: piece.digest for piece in made})


def _refuse_unproven(report: Report | None, *, untested: bool) -> None:
    if untested or (report and report.verdict is Verdict.PASSED):
        return
    if report is None:
        raise UsageError("nothing proves this image: there is no report; nothing was pushed")
    raise UsageError(f"the report is {report.verdict}: {report.cause}; nothing was pushed")


def _attach(publication: Publication, desk: Desk, piece: Piece) -> None:
    if piece.signed:
        attach(desk.registry, publication.layout.image, piece.signed)
        desk.progress(f"{piece.kind}: attached")


@contextmanager
def _explained(publication: Publication, missing: Sequence[Piece]) -> Iterator[None]:
    """Say in a fault what is there already, what is missing, and what completes it."""
    try:
        yield
    except RegistryFault as error:
        kinds = ", ".join(piece.kind for piece in missing)
        error.args = (
            f"{error}; the image is there, {publication.subject}, and its evidence lacks "
            f"{kinds}: repeating the command completes it",
        )
        raise
