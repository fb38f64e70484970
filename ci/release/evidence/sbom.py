"""The bill of materials: what an image has installed, as CycloneDX 1.6.

It lists what the image's own interpreter and package manager find, not what was asked for when
it was built. Digests stand for the image alone: what is installed has none, as RECORD files
list single files, and archives are gone once they are unpacked.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from packaging.utils import canonicalize_name

from ci.image.listing import Distribution, Installed, Package, System
from ci.registry.reference import Reference
from ci.release.kind import EvidenceKind, Judging, judged
from ci.report.model import Case

if TYPE_CHECKING:
    from cyclonedx.model.component import Component
    from cyclonedx.model.license import License
    from packageurl import PackageURL

    from ci.release.found import FoundPiece
    from ci.release.publication import Making

UNINDEXED = "sglang-ci:unindexed"
"""Property of a distribution that came from a URL or a folder, and by no index's name."""
SERIALS = uuid.UUID("6b8b4567-327b-43c6-a643-3c9869c5d4f1")
"""Namespace of the bills' serial numbers, each of which follows from a digest."""


class SbomKind(EvidenceKind):
    """What an image has installed."""

    name = "sbom"
    predicate_type = "https://cyclonedx.org/bom"
    created = ("metadata", "timestamp")

    def make(self, making: Making) -> dict[str, Any] | None:
        """Return the bill of materials; None where nobody looked into the image."""
        publication = making.publication
        if publication.installed is None:
            return None
        return bill(publication.subject, publication.installed, making.now)

    def judge(self, piece: FoundPiece, judging: Judging) -> Iterator[Case]:  # noqa: ARG002 - of all
        """Yield whether it names anything."""
        components = piece.predicate.get("components")
        yield judged("sbom names components", "" if components else "it names none")


def bill(subject: Reference, installed: Installed, now: datetime) -> dict[str, Any]:
    """Return the bill of materials of the image that `subject` names by digest.

    The same image, content and time give the same document.

    Args:
        subject: The image.
        installed: What was found in it.
        now: The time, UTC.
    """
    from cyclonedx.model.bom import Bom, BomMetaData
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.output.json import JsonV1Dot6

    image = _image(subject)
    parts = {str(part.bom_ref.value): part for part in _components(installed)}
    metadata = BomMetaData(timestamp=now, component=image)
    metadata.tools.components.add(Component(type=ComponentType.APPLICATION, name="sglang-ci"))
    bom = Bom(
        serial_number=uuid.uuid5(SERIALS, subject.digest),
        metadata=metadata,
        components=parts.values(),
    )
    bom.register_dependency(image, parts.values())
    document: dict[str, Any] = json.loads(JsonV1Dot6(bom).output_as_string())
    return document


def _image(subject: Reference) -> Component:
    from cyclonedx.model.component import ComponentType
    from packageurl import PackageURL

    name = subject.repository.rpartition("/")[2]
    purl = PackageURL("oci", None, name, subject.digest, {"repository_url": subject.name})
    found = _component(purl, subject.repository, subject.digest)
    found.type = ComponentType.CONTAINER
    return found


def _components(installed: Installed) -> Iterable[Component]:
    """Yield what is installed; one that is there twice is one component."""
    yield from map(_distribution, installed.distributions)
    for package in installed.packages:
        yield _package(package, installed.os)


def _distribution(one: Distribution) -> Component:
    from cyclonedx.model import Property
    from packageurl import PackageURL

    name = canonicalize_name(one.name)
    found = _component(PackageURL("pypi", None, name, one.version), name, one.version)
    found.licenses.update(_licences(one.licences))
    if not one.indexed:
        found.properties.add(Property(name=UNINDEXED, value="true"))
    return found


def _package(one: Package, system: System) -> Component:
    from packageurl import PackageURL

    vendor = system.id or "debian"
    distro = f"{vendor}-{system.version_id}" if system.version_id else ""
    told = {"arch": one.architecture, "distro": distro, "upstream": one.source}
    given = {key: value for key, value in told.items() if value}
    purl = PackageURL("deb", vendor, one.name, one.version, given)
    return _component(purl, one.name, one.version)


def _component(purl: PackageURL, name: str, version: str) -> Component:
    from cyclonedx.model.component import Component

    return Component(name=name, version=version, purl=purl, bom_ref=str(purl))


def _licences(names: tuple[str, ...]) -> Iterable[License]:
    """Yield licences by SPDX where they can be; an expression only ever stands alone."""
    from cyclonedx.contrib.license.factories import LicenseFactory
    from cyclonedx.spdx import fixup_id

    make = LicenseFactory()
    if len(names) == 1:
        yield make.make_from_string(names[0])
        return
    for name in names:
        yield make.make_with_id(name) if fixup_id(name) else make.make_with_name(name)


KIND = SbomKind()
