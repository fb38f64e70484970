"""What is attached to an image: the artifact's manifest, and the lists of artifacts.

A registry either lists referrers by itself (the referrers API of the distribution
specification 1.1), or clients keep the list under a tag that is made of the digest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from http import HTTPStatus
from threading import Lock
from typing import TYPE_CHECKING

from ci.errors import ConflictingWrite, MissingArtifact, RegistryFault
from ci.registry.exchange import PERHAPS, RegistryReply, RegistryRequest
from ci.registry.manifests import Manifests
from ci.registry.oci import (
    EMPTY,
    EMPTY_CONTENT,
    INDEX,
    MANIFEST,
    Descriptor,
    Manifest,
    canonical,
    digest_of,
)
from ci.registry.reference import Reference

if TYPE_CHECKING:
    from ci.registry.transport import Transport

Part = tuple[str, bytes, Mapping[str, str]]
"""Media type, content and annotations of a part of an artifact."""

_DECLINED = (RegistryFault, MissingArtifact)
"""Faults by which a registry declines a list that names what isn't there: a 400 or a 404."""
_MOST_TRIES = 30
_LONGEST_PAUSE = 0.3


def artifact(
    subject: Descriptor, artifact_type: str, parts: Sequence[Part], annotations: Mapping[str, str]
) -> Manifest:
    """Return the manifest of an artifact that is attached to `subject`."""
    layers = [Descriptor.of(kind, content, annotations=notes) for kind, content, notes in parts]
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": artifact_type,
        "config": Descriptor.of(EMPTY, EMPTY_CONTENT).to_dict(),
        "layers": [layer.to_dict() for layer in layers],
        "subject": subject.plain.to_dict(),
        "annotations": dict(annotations),
    }
    content = canonical(document)
    more = {"artifact_type": artifact_type, "annotations": dict(annotations)}
    return Manifest(Descriptor.of(MANIFEST, content, **more), content)


def tag_of(digest: str) -> str:
    """Return the tag under which clients keep the list of what is attached to `digest`."""
    return digest.replace(":", "-")


def listing(entries: Sequence[Descriptor]) -> bytes:
    """Return the list, an index, that clients keep under a tag."""
    manifests = [entry.to_dict() for entry in entries]
    return canonical({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests})


class Lists:
    """The lists of what is attached to the images of one repository."""

    def __init__(
        self, manifests: Manifests, transport: Transport, note: Callable[[str], None]
    ) -> None:
        """Keep them among `manifests`, read by `transport`; `note` is told what isn't kept."""
        self._manifests, self._transport, self._note = manifests, transport, note
        self._adding = Lock()

    def of(self, digest: str) -> list[Descriptor]:
        """Return what is attached to `digest`, each once, however this registry keeps it."""
        native = self.native(digest)
        entries = self.tagged(digest)[1] if native is None else native
        return [
            self._described(entry) for entry in {each.digest: each for each in entries}.values()
        ]

    def native(self, digest: str) -> list[Descriptor] | None:
        """Return what the referrers API lists; None where the registry has none."""
        statuses = PERHAPS | {HTTPStatus.METHOD_NOT_ALLOWED}
        headers, url = {"Accept": INDEX}, f"referrers/{digest}"
        ask = RegistryRequest(self._at(digest), "list referrers", "GET", url, statuses, headers)
        entries = []
        for answer in self._transport.pages(ask):
            if answer.status != HTTPStatus.OK or answer.media_type != INDEX:
                return None
            entries += _entries(answer)
        return entries

    def tagged(self, digest: str) -> tuple[str | None, list[Descriptor]]:
        """Return the digest and the entries of the list that clients keep under a tag."""
        url, headers = f"manifests/{tag_of(digest)}", {"Accept": INDEX}
        ask = RegistryRequest(self._at(digest), "list referrers", "GET", url, PERHAPS, headers)
        answer = self._transport.ask(ask)
        if answer.status == HTTPStatus.NOT_FOUND:
            return None, []
        return digest_of(answer.content), _entries(answer)

    def add(self, digest: str, entry: Descriptor) -> None:
        """Add an entry to the list of `digest` under a tag, however many others do so at once.

        Raises:
            ConflictingWrite: They always were faster.
        """
        import tenacity

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(ConflictingWrite),
            stop=tenacity.stop_after_attempt(_MOST_TRIES),
            wait=tenacity.wait_random(0, _LONGEST_PAUSE),
            reraise=True,
        )
        with self._adding:  # other clients' writes may be lost where there is no compare-and-swap
            retrying(self._add, digest, entry)

    def _add(self, digest: str, entry: Descriptor) -> None:
        before, entries = self.tagged(digest)
        if _has(entries, entry):
            return
        self._write(digest, before, entries, entry)
        if not _has(self.tagged(digest)[1], entry):
            at = self._manifests.reference.tagged(tag_of(digest))
            raise ConflictingWrite(str(at), "write manifest", "it was overwritten at once")

    def _write(
        self, digest: str, before: str | None, others: Sequence[Descriptor], entry: Descriptor
    ) -> None:
        """Write the list of `digest`, without what somebody deleted where that is declined."""
        tag = tag_of(digest)
        try:
            self._manifests.swap(tag, listing([*others, entry]), INDEX, before)
        except RegistryFault as error:
            if type(error) not in _DECLINED:
                raise
            gone = [each for each in others if self._manifests.resolve(each.digest) is None]
            if not gone:
                raise
            living = [each for each in others if each not in gone]
            self._manifests.swap(tag, listing([*living, entry]), INDEX, before)
            names = ", ".join(each.digest for each in gone)
            self._note(f"{self._at(digest)}: what was deleted is no longer listed: {names}")

    def _described(self, entry: Descriptor) -> Descriptor:
        """Return an entry with what the artifact says of itself, where a list can't tell."""
        if entry.artifact_type not in {"", EMPTY}:
            return entry
        try:
            made = self._manifests.read(entry.digest)
            notes = made.annotations
            return replace(entry, artifact_type=made.artifact_type, annotations=notes)
        except (MissingArtifact, ValueError):
            return entry

    def _at(self, digest: str) -> Reference:
        return self._manifests.reference.at(digest)


def _has(entries: Sequence[Descriptor], wanted: Descriptor) -> bool:
    return any(entry.digest == wanted.digest for entry in entries)


def _entries(answer: RegistryReply) -> list[Descriptor]:
    index = Manifest(Descriptor.of(answer.media_type, answer.content), answer.content)
    try:
        return list(index.manifests)
    except ValueError as error:
        raise answer.ask.broken(str(error)) from error
