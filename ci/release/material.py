"""What a build took in: base images, files and a commit, each by its digest."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ci.errors import UsageError
from ci.registry.reference import DIGEST


@dataclass(frozen=True)
class Material:
    """Something that a build took in.

    Args:
        uri: What it is.
        digest: Algorithm to digest, hex.
        name: What people call it.
    """

    uri: str
    digest: Mapping[str, str] = field(hash=False)
    name: str = ""

    @classmethod
    def image(cls, reference: str) -> Material:
        """Return a base image that `reference` names by digest, `name@sha256:…`.

        Raises:
            UsageError: It names no digest.
        """
        name, _, digest = reference.partition("@")
        if not DIGEST.fullmatch(digest):
            raise UsageError(f"base image {reference} isn't pinned by a digest")
        return cls(f"docker://{reference}", {"sha256": digest.removeprefix("sha256:")}, name)

    @classmethod
    def file(cls, path: Path, name: str) -> Material:
        """Return a file of the project, such as a lock, under its name there.

        Raises:
            UsageError: It can't be read.
        """
        try:
            content = path.read_bytes()
        except OSError as error:
            raise UsageError(f"{path}: can't be read: {error.strerror}") from error
        return cls(f"file:{name}", {"sha256": hashlib.sha256(content).hexdigest()}, name)

    @classmethod
    def source(cls, url: str, revision: str) -> Material:
        """Return the commit that was built, of the repository at `url`."""
        uri = f"git+{url}@{revision}" if url else f"git:{revision}"
        return cls(uri, {"gitCommit": revision}, "source")

    @property
    def identity(self) -> str:
        """Its digest with the algorithm before it."""
        return ",".join(f"{algorithm}:{hexes}" for algorithm, hexes in self.digest.items())
