"""A repository in a registry: what is read there, what is written, and what is attached.

Everything that is read is held against its digest. A tag is written by compare-and-swap:
it is read just before, and the request carries `If-Match` or `If-None-Match`. Few registries
honour those; with the others, a write of somebody else in that instant is overwritten.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from io import BytesIO
from threading import Event
from typing import TYPE_CHECKING, BinaryIO, Self
from urllib.parse import urljoin

from ci.errors import RegistryFault, UsageError
from ci.extras import install
from ci.registry.access import Access
from ci.registry.exchange import DONE, PERHAPS, Content, RegistryRequest
from ci.registry.manifests import Manifests, Unchecked
from ci.registry.oci import EMPTY, EMPTY_CONTENT, Descriptor, Manifest, digest_of
from ci.registry.reference import Reference
from ci.registry.referrers import Lists, Part, artifact
from ci.registry.upload import PHASE, upload

if TYPE_CHECKING:
    from ci.registry.transport import Transport


class Registry:
    """One repository, and a client's connections to it; several threads may use it.

    Every method raises a `RegistryFault` whose class says what went wrong.
    """

    def __init__(
        self,
        reference: Reference,
        access: Access | None = None,
        note: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Reach the repository that `reference` names; its tag and digest don't matter.

        Args:
            reference: Names the repository.
            access: How it is reached, and as whom.
            note: Is told, in one line each, what was put right on the way.

        Raises:
            UsageError: A file that `access` names, or Docker's configuration, can't be read;
                or the packages for registries aren't installed.
        """
        self.reference = Reference(reference.registry, reference.repository)
        self.access = access or Access()
        self._transport = _transport(self.reference, self.access)
        self._manifests = Manifests(self.reference, self._transport)
        self._lists = Lists(self._manifests, self._transport, note)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connections."""
        self._transport.close()

    def resolve(self, target: str) -> Descriptor | None:
        """Return what a tag or digest names; None where there is no such thing."""
        return self._manifests.resolve(target)

    def manifest(self, target: str) -> Manifest:
        """Return the manifest of a tag or digest, after checking its digest.

        Raises:
            MissingArtifact: There is none.
            BrokenArtifact: It isn't what its digest says, or no JSON object.
        """
        return self._manifests.read(target)

    def blob(self, descriptor: Descriptor, limit: int) -> bytes:
        """Return a blob of at most `limit` bytes, after checking its digest and size.

        Raises:
            MissingArtifact: There is none.
            BrokenArtifact: It isn't what its descriptor says, or is longer than `limit`.
        """
        digest, size = descriptor.digest, descriptor.size
        at = self.reference.at(digest)
        ask = RegistryRequest(at, "read blob", "GET", f"blobs/{digest}", DONE, limit=size)
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
        begun = self._transport.ask(
            RegistryRequest(self.reference, PHASE, "POST", "blobs/uploads/", DONE)
        )
        location = urljoin(begun.url, begun.headers.get("Location", ""))
        with suppress(RegistryFault):  # what isn't cancelled, a registry forgets by itself
            self._transport.ask(RegistryRequest(self.reference, PHASE, "DELETE", location, DONE))

    def put_manifest(
        self, target: str, content: bytes, media_type: str, *, expected: str | Unchecked | None
    ) -> Descriptor:
        """Put a manifest under a tag or its digest, where the tag names what is `expected`.

        `expected` is a digest, None where the tag must be free, or `UNCHECKED`. A tag that
        names this very manifest already is no conflict.

        Raises:
            ConflictingWrite: The tag names something else; nothing was written.
        """
        return self._manifests.swap(target, content, media_type, expected)

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
        put = made.descriptor
        answer = self._manifests.put(put.digest, made.content, put.media_type)
        if "OCI-Subject" not in answer.headers and self._lists.native(subject.digest) is None:
            self._lists.add(subject.digest, made.descriptor)
        return made.descriptor

    def tags(self) -> list[str]:
        """Return all tags, in the registry's order; none where there is no such repository."""
        ask = RegistryRequest(self.reference, "list tags", "GET", "tags/list", PERHAPS)
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
        problem = f"{error.name} isn't installed: {install('release')}"
        raise UsageError(problem) from error
    return Transport(reference, access)
