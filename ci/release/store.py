"""Evidence in the registry: attached to a digest, read back, and held against its signer.

What a registry lists is never believed: neither its annotations nor its order. A piece counts
for what is written inside its signed statement, and for nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ci.errors import BrokenArtifact, MissingArtifact
from ci.registry.oci import BUNDLE, CREATED, Descriptor
from ci.release import statement as statements
from ci.release.found import Evidence, FoundPiece, Statement
from ci.release.kinds import KINDS, of_type

if TYPE_CHECKING:
    from ci.registry.client import Registry
    from ci.registry.reference import Reference
    from ci.release.signing import Signer, Trust

CONTENT = "dev.sigstore.bundle.content"
PREDICATE_TYPE = "dev.sigstore.bundle.predicateType"
BUNDLE_LIMIT = 64 * 1024 * 1024
"""Most bytes of one bundle that are read."""


@dataclass(frozen=True)
class Signed:
    """A statement in its bundle, before it is attached to anything."""

    statement: Statement
    bundle: bytes

    def opened(self, trust: Trust) -> FoundPiece:
        """Return what a reader with this trust will make of it."""
        opened = trust.open(self.bundle)
        artifact = Descriptor.of(BUNDLE, self.bundle)
        return FoundPiece(artifact, artifact.digest, self.statement, opened.signer, opened.problem)


def sign(subject: Reference, kind: str, predicate: Mapping[str, Any], signer: Signer) -> Signed:
    """Return a signed statement of `kind` about `subject`, which names a digest.

    Raises:
        SigningFault: The key or token can't sign.
    """
    content = statements.make(subject, KINDS[kind].predicate_type, predicate)
    return Signed(statements.read(content), signer.sign(content))


def attach(
    registry: Registry,
    image: Descriptor,
    signed: Signed,
    hints: Mapping[str, str] | None = None,
) -> Descriptor:
    """Attach a signed statement to `image`, and return the artifact; `hints` annotate it.

    Raises:
        RegistryFault: The registry did not take it.
    """
    annotations = {
        CONTENT: "dsse-envelope",
        PREDICATE_TYPE: signed.statement.predicate_type,
        CREATED: signed.statement.created.isoformat(),
    }
    parts = [(BUNDLE, signed.bundle, dict[str, str]())]
    return registry.attach(image, BUNDLE, parts, annotations | dict(hints or {}))


def evidence_of(registry: Registry, image: Descriptor, trust: Trust) -> Evidence:
    """Return all evidence on `image`, whatever is wrong with it.

    Raises:
        RegistryFault: The registry can't be asked; that a piece is missing or broken there
            is a problem of that piece and no fault.
    """
    listed = registry.referrers(image.digest, BUNDLE)
    found = (open_artifact(registry, artifact, image.digest, trust) for artifact in listed)
    newest_first = sorted(found, key=lambda each: (each.created, each.bundle), reverse=True)
    return Evidence(image, tuple(newest_first))


def open_artifact(
    registry: Registry, artifact: Descriptor, subject: str, trust: Trust
) -> FoundPiece:
    """Return what one attached artifact holds, as far as it can be read and believed.

    Args:
        registry: The repository that holds it.
        artifact: The artifact's manifest.
        subject: Digest that its statement has to be about; any where it is empty.
        trust: Whose signatures are known.
    """
    hinted = of_type(artifact.annotations.get(PREDICATE_TYPE, ""))
    found = FoundPiece(artifact, hint=hinted.name if hinted else "")
    try:
        bundle = _bundle_in(registry, artifact)
        found = replace(found, bundle=bundle.digest)
        content = registry.blob(bundle, BUNDLE_LIMIT)
    except (MissingArtifact, BrokenArtifact) as error:
        return replace(found, problem=f"gone or replaced in the registry: {error.problem}")
    except ValueError as error:
        return replace(found, problem=f"malformed: {error}")
    opened = trust.open(content)
    found = replace(found, statement=opened.statement, signer=opened.signer, problem=opened.problem)
    said = found.statement
    if said and subject and said.subject_digest != subject:
        return replace(found, problem=f"it is about another digest, {said.subject_digest}")
    return found


def _bundle_in(registry: Registry, artifact: Descriptor) -> Descriptor:
    bundles = [
        layer for layer in registry.manifest(artifact.digest).layers if layer.media_type == BUNDLE
    ]
    if len(bundles) != 1:
        raise ValueError(f"it holds {len(bundles)} bundles, and one is expected")
    return bundles[0]
