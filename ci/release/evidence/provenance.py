"""Provenance: what an image was built of, by what and where, as SLSA v1 has it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from ci.errors import UsageError
from ci.registry.reference import DIGEST
from ci.release.where import Where

BUILD_TYPE = "urn:sglang-ci:build:1"
"""What the parameters mean: the Dockerfile's build by `dagger call image`."""


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


def provenance(
    config: Mapping[str, Any],
    revision: str,
    materials: Iterable[Material],
    where: Where,
    *,
    started: datetime,
    finished: datetime,
) -> dict[str, Any]:
    """Return the predicate on how an image was built.

    Args:
        config: The settings in force, without secrets.
        revision: Commit that was built; empty where it isn't known.
        materials: What went in.
        where: Who built it, and where.
        started: When the build began, UTC.
        finished: When it was done, UTC.
    """
    metadata = {"startedOn": started.isoformat(), "finishedOn": finished.isoformat()}
    if where.where_url:
        metadata["invocationId"] = where.where_url
    return {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": {"config": dict(config), "revision": revision},
            "internalParameters": {"actor": where.actor, "system": where.system},
            "resolvedDependencies": [_descriptor(each) for each in materials],
        },
        "runDetails": {"builder": {"id": where.builder}, "metadata": metadata},
    }


def _descriptor(material: Material) -> dict[str, Any]:
    named = {"name": material.name} if material.name else {}
    return {"uri": material.uri, "digest": dict(material.digest), **named}
