"""One exchange with a registry: what is asked, what is sent along, and what is answered."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from threading import Event
from typing import Any, BinaryIO
from urllib.parse import urljoin

from ci.errors import BrokenArtifact, RegistryFault
from ci.registry.reference import Reference

BLOCK = 256 * 1024
"""Bytes that are read and sent at a time: each block has a timeout of its own."""
DOCUMENT_LIMIT = 4 * 1024 * 1024
"""Most bytes of a manifest, an index or a list; registries must take manifests of that size."""

DONE = frozenset({HTTPStatus.OK, HTTPStatus.CREATED, HTTPStatus.ACCEPTED, HTTPStatus.NO_CONTENT})
PERHAPS = frozenset({HTTPStatus.OK, HTTPStatus.NOT_FOUND})


@dataclass(frozen=True)
class Content:
    """Content to send, read anew from its start each time that it is sent."""

    reference: Reference
    phase: str
    size: int
    opened: Callable[[], BinaryIO]
    cancelled: Event
    """Once it is set, nothing more is sent."""

    def __len__(self) -> int:
        """Return its length in bytes."""
        return self.size

    def __iter__(self) -> Iterator[bytes]:
        """Yield it in blocks.

        Raises:
            RegistryFault: It can't be read, or was cancelled.
            BrokenArtifact: It is longer or shorter than it should be.
        """
        sent = 0
        try:
            with self.opened() as stream:
                while block := stream.read(BLOCK):
                    sent += len(block)
                    if sent > self.size or self.cancelled.is_set():
                        break
                    yield block
        except OSError as error:
            why = error.strerror or type(error).__name__
            raise self._fault(f"what is to be sent can't be read: {why}") from error
        if self.cancelled.is_set():
            raise self._fault("cancelled")
        if sent != self.size:
            problem = f"what is to be sent isn't {self.size} bytes long, as its descriptor says"
            raise BrokenArtifact(str(self.reference), self.phase, problem)

    def _fault(self, problem: str) -> RegistryFault:
        return RegistryFault(str(self.reference), self.phase, problem)


@dataclass(frozen=True)
class RegistryRequest:
    """One request.

    `url` is absolute, or a path below the repository's own. `reference` and `phase` are
    what a fault names. Statuses that aren't in `statuses` are faults.
    """

    reference: Reference
    phase: str
    method: str
    url: str
    statuses: frozenset[int] = DONE
    headers: Mapping[str, str] = field(default_factory=dict)
    content: Content | bytes | None = None
    limit: int = DOCUMENT_LIMIT

    def broken(self, problem: str) -> BrokenArtifact:
        """Return the fault of an answer that isn't what it should be."""
        return BrokenArtifact(str(self.reference), self.phase, problem)


@dataclass(frozen=True)
class RegistryReply:
    """What was answered; `url` is where, after redirects, and `headers` know no case."""

    ask: RegistryRequest
    status: int
    headers: Mapping[str, str]
    content: bytes
    url: str
    links: Mapping[str, Any]

    @property
    def media_type(self) -> str:
        """The content's media type, without parameters."""
        return self.headers.get("Content-Type", "").partition(";")[0].strip()

    @property
    def following(self) -> str:
        """URL of the next page; empty where this is the last."""
        link = self.links.get("next", {}).get("url", "")
        return urljoin(self.url, link) if link else ""

    def document(self) -> dict[str, Any]:
        """Return the content's JSON object.

        Raises:
            BrokenArtifact: It is no such thing.
        """
        try:
            document = json.loads(self.content)
        except (ValueError, RecursionError) as error:
            raise self.ask.broken("answered with no JSON") from error
        if not isinstance(document, dict):
            raise self.ask.broken("answered with no JSON object")
        return document
