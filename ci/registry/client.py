"""A repository in a registry: what is read there, what is written, and what is attached.

Everything that is read is held against its digest. A tag is written by compare-and-swap:
it is read just before, and the request carries `If-Match` or `If-None-Match`. Few registries
honour those; with the others, a write of somebody else in that instant is overwritten.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from enum import Enum
from functools import partial
from http import HTTPStatus
from io import BytesIO
from threading import Event
from typing import TYPE_CHECKING, BinaryIO, Final, Self
from urllib.parse import urljoin

from ci.errors import ConflictingWrite, RegistryFault, UsageError
from ci.registry.access import Access
from ci.registry.exchange import DONE, PERHAPS, Answer, Ask, Content
from ci.registry.oci import EMPTY, EMPTY_CONTENT, MANIFESTS, Descriptor, Manifest, digest_of
from ci.registry.reference import DIGEST, Reference
from ci.registry.referrers import Lists, Part, artifact
from ci.registry.upload import PHASE, upload

if TYPE_CHECKING:
    from ci.registry.transport import Transport

__all__ = ["UNCHECKED", "Access", "Registry", "Unchecked"]

_ACCEPT = {"Accept": ", ".join(MANIFESTS)}


class Unchecked(Enum):
    """The type of `UNCHECKED`."""

    UNCHECKED = "unchecked"


UNCHECKED: Final = Unchecked.UNCHECKED
"""In the place of what is expected under a tag: whatever is there is overwritten."""


class Registry:
    """One repository, and a client's connections to it; several threads may use it.

    Every method raises a `RegistryFault` whose class says what went wrong.
    """

    def __init__(self, reference: Reference, access: Access | None = None) -> None:
        """Reach the repository that `reference` names; its tag and digest don't matter.

        Raises:
            UsageError: A file that `access` names, or Docker's configuration, can't be read;
                or the packages for registries aren't installed.
        """
        self.reference = Reference(reference.registry, reference.repository)
        self.access = access or Access()
        self._transport = _transport(self.reference, self.access)
        self._lists = Lists(self, self._transport)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connections."""
        self._transport.close()

    def resolve(self, target: str) -> Descriptor | None:
        """Return what a tag or digest names; None where there is no such thing."""
        at = self.reference.pick(target)
        ask = Ask(at, "resolve", "HEAD", f"manifests/{target}", PERHAPS, _ACCEPT)
        answer = self._transport.ask(ask)
        if answer.status == HTTPStatus.NOT_FOUND:
            return None
        digest = answer.headers.get("Docker-Content-Digest", "")
        length = answer.headers.get("Content-Length", "")
        if not DIGEST.fullmatch(digest) or not re.fullmatch("[0-9]+", length):
            return self.manifest(target).descriptor
        if at.digest not in {"", digest}:
            raise ask.broken(f"answered with {digest}")
        return Descriptor(answer.media_type, digest, int(length))

    def manifest(self, target: str) -> Manifest:
        """Return the manifest of a tag or digest, held against its digest.

        Raises:
            MissingArtifact: There is none.
            BrokenArtifact: It isn't what its digest says, or no JSON object.
        """
        at = self.reference.pick(target)
        ask = Ask(at, "read manifest", "GET", f"manifests/{target}", DONE, _ACCEPT)
        answer = self._transport.ask(ask)
        digest = digest_of(answer.content)
        for named in (at.digest, answer.headers.get("Docker-Content-Digest", "")):
            if named not in {"", digest}:
                raise ask.broken(f"the content's digest is {digest}, and {named} was promised")
        media_type = answer.document().get("mediaType") or answer.media_type
        return Manifest(Descriptor(str(media_type), digest, len(answer.content)), answer.content)

    def blob(self, descriptor: Descriptor, limit: int) -> bytes:
        """Return a blob of at most `limit` bytes, held against its digest and size.

        Raises:
            MissingArtifact: There is none.
            BrokenArtifact: It isn't what its descriptor says, or is longer than `limit`.
        """
        digest, size = descriptor.digest, descriptor.size
        at = self.reference.at(digest)
        ask = Ask(at, "read blob", "GET", f"blobs/{digest}", DONE, limit=size)
        if size > limit:
            raise ask.broken(f"it is {size} bytes long, and at most {limit} are read")
        content = self._transport.ask(ask).content
        if digest_of(content) != digest:
            raise ask.broken(f"the content's digest is {digest_of(content)}")
        return content

    def put_blob(
        self,
        descriptor: Descriptor,
        opened: Callable[[], BinaryIO],
        cancelled: Event | None = None,
    ) -> bool:
        """Upload a blob unless it is there; return whether it was uploaded.

        Args:
            descriptor: The blob.
            opened: Gives the content from its start, once an attempt.
            cancelled: Ends the upload soon once another thread sets it.
        """
        at = self.reference.at(descriptor.digest)
        content = Content(at, PHASE, descriptor.size, opened, cancelled or Event())
        return upload(self._transport, content)

    def may_push(self) -> None:
        """Begin an upload, and cancel it: so it is known that one may be made.

        Raises:
            RegistryRefused: This user may not push here.
        """
        begun = self._transport.ask(Ask(self.reference, PHASE, "POST", "blobs/uploads/", DONE))
        location = urljoin(begun.url, begun.headers.get("Location", ""))
        with suppress(RegistryFault):  # what isn't cancelled, a registry forgets by itself
            self._transport.ask(Ask(self.reference, PHASE, "DELETE", location, DONE))

    def put_manifest(
        self, target: str, content: bytes, media_type: str, *, expected: str | Unchecked | None
    ) -> Descriptor:
        """Put a manifest under a tag or its digest, where the tag names what is `expected`.

        A tag that names this very manifest already is no conflict.

        Args:
            target: The tag, or the content's digest.
            content: The manifest, as it is to be stored.
            media_type: Its media type.
            expected: The digest that the tag must name until now, None where it must be free,
                or `UNCHECKED`.

        Raises:
            ConflictingWrite: The tag names something else; nothing was written.
        """
        put = Descriptor.of(media_type, content)
        if isinstance(expected, Unchecked):
            self._put(target, content, media_type, {})
            return put
        if self._holds(target, put, expected):
            return put
        guard = {"If-Match": f'"{expected}"'} if expected else {"If-None-Match": "*"}
        try:
            self._put(target, content, media_type, guard)
        except ConflictingWrite:  # or an attempt of ours got through, and its answer didn't
            if not self._holds(target, put, expected):
                raise
        return put

    def _holds(self, target: str, put: Descriptor, expected: str | None) -> bool:
        """Return whether a tag names `put` already; raise where it isn't what is expected."""
        there = self.resolve(target)
        found = there.digest if there else None
        if found in {put.digest, expected}:
            return found == put.digest
        problem = f"it names {found or 'nothing'}, and {expected or 'nothing'} was expected"
        raise ConflictingWrite(str(self.reference.pick(target)), "write manifest", problem)

    def _put(
        self, target: str, content: bytes, media_type: str, guard: Mapping[str, str]
    ) -> Answer:
        headers = {"Content-Type": media_type, **guard}
        url, at = f"manifests/{target}", self.reference.pick(target)
        ask = Ask(at, "write manifest", "PUT", url, DONE, headers, content)
        answer = self._transport.ask(ask)
        stored = answer.headers.get("Docker-Content-Digest") or digest_of(content)
        if stored != digest_of(content):
            raise ask.broken(f"it is stored as {stored}, and is {digest_of(content)}")
        return answer

    def referrers(self, digest: str, artifact_type: str = "") -> tuple[Descriptor, ...]:
        """Return what is attached to `digest`, of one artifact type where one is given."""
        entries = self._lists.of(digest)
        return tuple(entry for entry in entries if artifact_type in {"", entry.artifact_type})

    def attach(
        self,
        subject: Descriptor,
        artifact_type: str,
        blobs: Sequence[Part],
        annotations: Mapping[str, str],
    ) -> Descriptor:
        """Attach an artifact to `subject` and return its descriptor.

        The same content gives the same artifact, however often it is attached.

        Args:
            subject: What it is attached to.
            artifact_type: What it is.
            blobs: Media type, content and annotations of each of its parts.
            annotations: The artifact's own.
        """
        parts = blobs or [(EMPTY, EMPTY_CONTENT, {})]
        made = artifact(subject, artifact_type, parts, annotations)
        for media_type, content, _ in [*parts, (EMPTY, EMPTY_CONTENT, {})]:
            self.put_blob(Descriptor.of(media_type, content), partial(BytesIO, content))
        answer = self._put(made.descriptor.digest, made.content, made.descriptor.media_type, {})
        if "OCI-Subject" not in answer.headers and self._lists.native(subject.digest) is None:
            self._lists.add(subject.digest, made.descriptor)
        return made.descriptor

    def tags(self) -> list[str]:
        """Return all tags, in the registry's order; none where there is no such repository."""
        ask = Ask(self.reference, "list tags", "GET", "tags/list", PERHAPS)
        pages = list(self._transport.pages(ask))
        if pages[0].status == HTTPStatus.NOT_FOUND:
            return []
        found = [page.document().get("tags") or [] for page in pages]
        if not all(isinstance(tags, list) for tags in found):
            raise ask.broken("answered with no list of tags")
        return [str(tag) for tags in found for tag in tags]


def _transport(reference: Reference, access: Access) -> Transport:
    try:
        from ci.registry.transport import Transport
    except ModuleNotFoundError as error:
        problem = f"{error.name} isn't installed: pip install 'sglang-ci[release]'"
        raise UsageError(problem) from error
    return Transport(reference, access)
