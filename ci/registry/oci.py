"""What a registry holds, as the OCI image specification names it: descriptors and manifests."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ci.registry.reference import DIGEST

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
MANIFESTS = (MANIFEST, INDEX, DOCKER_MANIFEST, DOCKER_INDEX)
"""Media types of everything that a tag can name."""
EMPTY = "application/vnd.oci.empty.v1+json"
EMPTY_CONTENT = b"{}"
"""The content of the descriptor that stands where an artifact needs no config of its own."""
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
"""A signed statement: the artifact type of all evidence."""
CREATED = "org.opencontainers.image.created"
"""Annotation: when an artifact was made, RFC 3339."""


def digest_of(content: bytes) -> str:
    """Return the digest of `content`."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@dataclass(frozen=True)
class Descriptor:
    """What content is (media type), which it is (digest), and how long (size in bytes)."""

    media_type: str
    digest: str
    size: int
    artifact_type: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)

    @classmethod
    def of(cls, media_type: str, content: bytes, **more: Any) -> Descriptor:
        """Return the descriptor of `content`; `more` are further fields."""
        return cls(media_type, digest_of(content), len(content), **more)

    @classmethod
    def from_dict(cls, document: Any) -> Descriptor:
        """Return the descriptor that a JSON document holds.

        Raises:
            ValueError: It holds none; the message is one line.
        """
        if not isinstance(document, dict):
            raise ValueError("a descriptor is no object")  # noqa: TRY004 - of a document, not of us
        digest, size = document.get("digest"), document.get("size")
        if not isinstance(digest, str) or not DIGEST.fullmatch(digest):
            raise ValueError("a descriptor has no sha256 digest")
        if not isinstance(size, int) or isinstance(size, bool) or size < 0:
            raise ValueError(f"the descriptor of {digest} has no size")
        texts = {key: document.get(key) or "" for key in ("mediaType", "artifactType")}
        annotations = document.get("annotations") or {}
        if not isinstance(annotations, dict) or not all(
            isinstance(text, str) for text in (*texts.values(), *annotations.values())
        ):
            raise ValueError(f"the descriptor of {digest} is malformed")
        return cls(texts["mediaType"], digest, size, texts["artifactType"], annotations)

    def to_dict(self) -> dict[str, Any]:
        """Return the descriptor as it stands in JSON; what is empty is left out."""
        document: dict[str, Any] = {
            "mediaType": self.media_type,
            "digest": self.digest,
            "size": self.size,
        }
        if self.artifact_type:
            document["artifactType"] = self.artifact_type
        if self.annotations:
            document["annotations"] = dict(self.annotations)
        return document

    @property
    def plain(self) -> Descriptor:
        """Media type, digest and size alone, as a manifest's `subject` names it."""
        return Descriptor(self.media_type, self.digest, self.size)


@dataclass(frozen=True)
class Manifest:
    """A manifest or an index: its descriptor, and its content as it is stored."""

    descriptor: Descriptor
    content: bytes = field(repr=False)

    @cached_property
    def document(self) -> dict[str, Any]:
        """The content's JSON.

        Raises:
            ValueError: It is no JSON object; the message is one line.
        """
        try:
            document = json.loads(self.content)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{self.descriptor.digest} is no JSON") from error
        if not isinstance(document, dict):
            raise ValueError(f"{self.descriptor.digest} is no JSON object")  # noqa: TRY004
        return document

    @property
    def artifact_type(self) -> str:
        """What an artifact says it is: by itself, or else by its config's media type."""
        own = self.document.get("artifactType")
        return own if isinstance(own, str) and own else self.config.media_type

    @property
    def config(self) -> Descriptor:
        """The config's descriptor; raises ValueError where there is none."""
        return Descriptor.from_dict(self.document.get("config"))

    @property
    def layers(self) -> tuple[Descriptor, ...]:
        """The layers' descriptors; raises ValueError where one is malformed."""
        return self._descriptors("layers")

    @property
    def manifests(self) -> tuple[Descriptor, ...]:
        """The descriptors in an index; raises ValueError where one is malformed."""
        return self._descriptors("manifests")

    @property
    def subject(self) -> Descriptor | None:
        """What this is attached to; None where it stands alone."""
        subject = self.document.get("subject")
        return None if subject is None else Descriptor.from_dict(subject)

    @property
    def annotations(self) -> dict[str, str]:
        """The manifest's annotations, those that are text."""
        found = self.document.get("annotations")
        pairs = found.items() if isinstance(found, dict) else ()
        return {key: value for key, value in pairs if isinstance(value, str)}

    def _descriptors(self, key: str) -> tuple[Descriptor, ...]:
        found = self.document.get(key) or []
        if not isinstance(found, list):
            raise ValueError(f"{key} of {self.descriptor.digest} is no list")  # noqa: TRY004
        return tuple(Descriptor.from_dict(each) for each in found)


def canonical(document: Mapping[str, Any]) -> bytes:
    """Return a document as bytes: the same for the same content, whoever writes it."""
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
