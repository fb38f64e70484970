"""Provenance: what an image was built of, by what and where, as SLSA v1 has it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ci.release.kind import EvidenceKind
from ci.release.material import Material
from ci.release.where import Where

if TYPE_CHECKING:
    from ci.release.publication import Making

BUILD_TYPE = "urn:sglang-ci:build:1"
"""What the parameters mean: the Dockerfile's build by `dagger call image`."""


class ProvenanceKind(EvidenceKind):
    """What an image was built of."""

    name = "provenance"
    predicate_type = "https://slsa.dev/provenance/v1"
    created = ("runDetails", "metadata", "finishedOn")
    of_the_build = True

    def make(self, making: Making) -> dict[str, Any]:
        """Return the provenance; the build was done before the checks began."""
        publication = making.publication
        finished = publication.report.started if publication.report else making.now
        return provenance(
            publication.config,
            publication.where.commit,
            publication.materials,
            publication.where,
            started=min(publication.built or finished, finished),
            finished=finished,
        )


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


KIND = ProvenanceKind()
