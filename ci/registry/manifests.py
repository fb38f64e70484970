"""Manifests in a repository: what a tag or digest names, and writing it by compare-and-swap."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from ci.errors import ConflictingWrite
from ci.registry.exchange import DONE, PERHAPS, RegistryReply, RegistryRequest
from ci.registry.oci import MANIFESTS, Descriptor, Manifest, digest_of
from ci.registry.reference import DIGEST, Reference

if TYPE_CHECKING:
    from ci.registry.transport import Transport

_ACCEPT = {"Accept": ", ".join(MANIFESTS)}


class Unchecked(Enum):
    """The type of `UNCHECKED`."""

    UNCHECKED = "unchecked"


UNCHECKED: Final = Unchecked.UNCHECKED
"""In the place of what is expected under a tag: whatever is there is overwritten."""


class Manifests:
    """The manifests of one repository; every method raises a `RegistryFault`."""

    def __init__(self, reference: Reference, transport: Transport) -> None:
        """Read and write them below `reference`, the repository, by `transport`."""
        self.reference, self._transport = reference, transport

    def resolve(self, target: str) -> Descriptor | None:
        """Return what a tag or digest names; None where there is no such thing."""
        at = self.reference.pick(target)
        ask = RegistryRequest(at, "resolve", "HEAD", f"manifests/{target}", PERHAPS, _ACCEPT)
        answer = self._transport.ask(ask)
        if answer.status == HTTPStatus.NOT_FOUND:
            return None
        digest = answer.headers.get("Docker-Content-Digest", "")
        length = answer.headers.get("Content-Length", "")
        if not DIGEST.fullmatch(digest) or not re.fullmatch("[0-9]+", length):
            return self.read(target).descriptor
        if at.digest not in {"", digest}:
            raise ask.broken(f"answered with {digest}")
        return Descriptor(answer.media_type, digest, int(length))

    def read(self, target: str) -> Manifest:
        """Return the manifest of a tag or digest, held against its digest.

        Raises:
            MissingArtifact: There is none.
            BrokenArtifact: It isn't what its digest says, or no JSON object.
        """
        at = self.reference.pick(target)
        ask = RegistryRequest(at, "read manifest", "GET", f"manifests/{target}", DONE, _ACCEPT)
        answer = self._transport.ask(ask)
        digest = digest_of(answer.content)
        for named in (at.digest, answer.headers.get("Docker-Content-Digest", "")):
            if named not in {"", digest}:
                raise ask.broken(f"the content's digest is {digest}, and {named} was promised")
        media_type = answer.document().get("mediaType") or answer.media_type
        return Manifest(Descriptor(str(media_type), digest, len(answer.content)), answer.content)

    def swap(
        self, target: str, content: bytes, media_type: str, expected: str | Unchecked | None
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
            self.put(target, content, media_type)
            return put
        if self._holds(target, put, expected):
            return put
        guard = {"If-Match": f'"{expected}"'} if expected else {"If-None-Match": "*"}
        try:
            self.put(target, content, media_type, guard)
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

    def put(
        self, target: str, content: bytes, media_type: str, guard: Mapping[str, str] | None = None
    ) -> RegistryReply:
        """Put a manifest under a tag or its digest, and return the registry's answer.

        Args:
            target: The tag, or the content's digest.
            content: The manifest, as it is to be stored.
            media_type: Its media type.
            guard: The headers that say under which condition.
        """
        headers = {"Content-Type": media_type, **(guard or {})}
        url, at = f"manifests/{target}", self.reference.pick(target)
        ask = RegistryRequest(at, "write manifest", "PUT", url, DONE, headers, content)
        answer = self._transport.ask(ask)
        stored = answer.headers.get("Docker-Content-Digest") or digest_of(content)
        if stored != digest_of(content):
            raise ask.broken(f"it is stored as {stored}, and is {digest_of(content)}")
        return answer
