"""Evidence as it is found on a digest: what is said, by whom, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ci.registry.oci import Descriptor

_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Statement:
    """Something that is said about one digest.

    Args:
        subject_name: Name of the repository that the digest was in; a hint, not an identity.
        subject_digest: The digest that it is about, `sha256:…`.
        predicate_type: URI of what kind of thing is said.
        predicate: What is said.
        created: When it was made, UTC, as it says itself.
        kind: What settings call its predicate type; empty for a foreign one.
    """

    subject_name: str
    subject_digest: str
    predicate_type: str
    predicate: Mapping[str, Any]
    created: datetime
    kind: str


@dataclass(frozen=True)
class FoundPiece:
    """One piece that is attached to a digest.

    Args:
        artifact: The manifest that is attached.
        bundle: Digest of the signed bundle in it; empty where there is none to read.
        statement: What it says; None where it can't be read.
        signer: Who signed it, by a name of [trust]; empty where nobody known did.
        problem: Why it is not what it should be, in one line; empty where it is.
        hint: The kind that its annotation names, which anybody may have written.
    """

    artifact: Descriptor
    bundle: str = ""
    statement: Statement | None = None
    signer: str = ""
    problem: str = ""
    hint: str = ""

    @property
    def kind(self) -> str:
        """What it says that it is: by its statement, or else by the hint of its annotation."""
        return self.statement.kind if self.statement else self.hint

    @property
    def created(self) -> datetime:
        """When it was made, as its statement says; the beginning of time where it can't."""
        return self.statement.created if self.statement else _NEVER

    @property
    def predicate(self) -> Mapping[str, Any]:
        """What its statement says; empty where it can't be read."""
        return self.statement.predicate if self.statement else {}

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"{self.kind or 'artifact'} {(self.bundle or self.artifact.digest)[:19]}"


@dataclass(frozen=True)
class Evidence:
    """All that is attached to one digest, the newest first."""

    image: Descriptor
    found: tuple[FoundPiece, ...]

    def of(self, kind: str) -> tuple[FoundPiece, ...]:
        """Return what is of one kind, the newest first."""
        return tuple(each for each in self.found if each.kind == kind)
