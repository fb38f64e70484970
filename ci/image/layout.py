"""An image as an OCI layout on this disk: the tar that `as_tarball` makes, or a folder.

Layers are read where they lie, inside the tar, and everything is held against its digest
while it is read.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, cast

from ci.errors import BrokenArtifact, UsageError
from ci.registry.exchange import BLOCK, DOCUMENT_LIMIT
from ci.registry.oci import DOCKER_MANIFEST, MANIFEST, Descriptor, Manifest

_PHASE = "read layout"


@dataclass(frozen=True)
class _Place:
    """Where a file's content lies: in `path`, from `start` on, `size` bytes."""

    path: Path
    start: int
    size: int


@dataclass(frozen=True)
class OciLayout:
    """One image in an OCI layout."""

    path: Path
    image: Descriptor
    """The image's manifest."""
    places: Mapping[str, _Place]
    """Where each file of the layout lies, by its path in it."""

    @classmethod
    def open(cls, path: Path) -> OciLayout:
        """Return the image in the layout at `path`, a tar or a folder.

        Raises:
            UsageError: It is no layout, or one of several images or of none.
            BrokenArtifact: The image's manifest is missing or malformed.
        """
        try:
            places = _folder(path) if path.is_dir() else _tar(path)
        except (OSError, tarfile.TarError) as error:
            why = getattr(error, "strerror", None) or "neither an uncompressed tar nor a folder"
            raise UsageError(f"{path}: no OCI layout: {why}") from error
        if "index.json" not in places:
            raise UsageError(f"{path}: no OCI layout: it has no index.json")
        return cls(path, _only_image(path, places["index.json"]), places)

    @cached_property
    def manifest(self) -> Manifest:
        """The image's manifest; raises BrokenArtifact where it is missing or malformed."""
        manifest = Manifest(self.image, self._document(self.image))
        try:
            manifest.config, manifest.layers  # noqa: B018 - they raise
        except ValueError as error:
            raise _broken(self.path, str(error)) from error
        return manifest

    def blobs(self) -> tuple[Descriptor, ...]:
        """Return the config and the layers, each once."""
        each = (self.manifest.config, *self.manifest.layers)
        return tuple({blob.digest: blob for blob in each}.values())

    def open_blob(self, digest: str) -> BinaryIO:
        """Return the content of a blob, which is held against its digest where it ends.

        Raises:
            BrokenArtifact: It is missing; or, while it is read, isn't what its digest says.
        """
        place = self.places.get(f"blobs/{digest.replace(':', '/')}")
        if place is None:
            raise _broken(self.path, f"{digest} is missing")
        return cast("BinaryIO", io.BufferedReader(_Verified(self.path, place, digest), BLOCK))

    def label(self, name: str) -> str:
        """Return a label of the image; empty where it has none of that name."""
        try:
            config = json.loads(self._document(self.manifest.config))["config"]
            return str((config.get("Labels") or {}).get(name, ""))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise _broken(self.path, "the image's config is malformed") from error

    def _document(self, descriptor: Descriptor) -> bytes:
        if descriptor.size > DOCUMENT_LIMIT:
            raise _broken(self.path, f"{descriptor.digest} is over {DOCUMENT_LIMIT} bytes long")
        with self.open_blob(descriptor.digest) as stream:
            return stream.read()


def _broken(path: Path, problem: str) -> BrokenArtifact:
    return BrokenArtifact(str(path), _PHASE, problem)


def _tar(path: Path) -> dict[str, _Place]:
    with tarfile.open(path, "r:") as tar:
        return {
            member.name.removeprefix("./"): _Place(path, member.offset_data, member.size)
            for member in tar
            if member.isreg()
        }


def _folder(path: Path) -> dict[str, _Place]:
    return {
        file.relative_to(path).as_posix(): _Place(file, 0, file.stat().st_size)
        for file in path.rglob("*")
        if file.is_file()
    }


def _only_image(path: Path, index: _Place) -> Descriptor:
    """Return the descriptor of the layout's one image."""
    with index.path.open("rb") as file:
        file.seek(index.start)
        content = file.read(min(index.size, DOCUMENT_LIMIT))
    try:
        images = Manifest(Descriptor.of("", content), content).manifests
    except ValueError as error:
        raise _broken(path, f"index.json: {error}") from error
    if len(images) != 1 or images[0].media_type not in {MANIFEST, DOCKER_MANIFEST}:
        raise UsageError(f"{path}: it has to hold the manifest of one image, for one platform")
    return images[0].plain


class _Verified(io.RawIOBase):
    """Content whose digest is checked before its last block is handed out."""

    def __init__(self, path: Path, place: _Place, digest: str) -> None:
        self._path, self._digest, self._left = path, digest, place.size
        self._sum = hashlib.sha256()
        self._file = place.path.open("rb", buffering=0)
        self._file.seek(place.start)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)[: self._left]
        count = self._file.readinto(view) or 0
        self._sum.update(view[:count])
        self._left -= count
        ended = not count or not self._left
        if ended and len(buffer) and f"sha256:{self._sum.hexdigest()}" != self._digest:
            raise _broken(self._path, f"the content of {self._digest} isn't what its digest says")
        return count

    def close(self) -> None:
        self._file.close()
        super().close()
