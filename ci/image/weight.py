"""What an image weighs, as its manifest says, and what made each layer, as its config says."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from ci.errors import BrokenArtifact, UsageError
from ci.image.layout import OciLayout
from ci.image.words import layer_name
from ci.registry.access import Access
from ci.registry.client import Registry
from ci.registry.exchange import DOCUMENT_LIMIT
from ci.registry.oci import DOCKER_INDEX, INDEX, Manifest
from ci.registry.reference import Reference
from ci.report.text import one_line

PLATFORM = "linux/amd64"
MOST_BYTES = 2**63 - 1
_PHASE = "read sizes"


@dataclass(frozen=True)
class Layer:
    """One layer: what made it, its digest, and its bytes as it is transferred."""

    name: str
    digest: str
    bytes: int


@dataclass(frozen=True)
class ImageSize:
    """What one image weighs.

    Args:
        reference: How the user named it.
        digest: The manifest's.
        layers: In their order; no two have the same name.
    """

    reference: str
    digest: str
    layers: tuple[Layer, ...]

    @property
    def total(self) -> int:
        """Bytes of all layers as they are transferred, each once."""
        return sum({layer.digest: layer.bytes for layer in self.layers}.values())


def find(named: str) -> OciLayout | Reference:
    """Return the image that a user names: an OCI layout's path, or a reference in a registry.

    Raises:
        UsageError: It is neither, or a reference without tag and digest.
        BrokenArtifact: The layout's manifest is missing or malformed.
    """
    if _is_there(named):
        return OciLayout.open(Path(named))
    try:
        reference = Reference.parse(named)
    except UsageError as error:
        raise UsageError(f"no layout is there, and {error}") from error
    if not (reference.digest or reference.tag):
        raise UsageError(f"{reference}: name a tag or a digest of it")
    return reference


def measure(image: OciLayout | Reference, access: Access, platform: str = PLATFORM) -> ImageSize:
    """Read what an image weighs; of one in a registry manifest and config alone are read.

    Args:
        image: What `find` returned.
        access: How registries are reached.
        platform: `os/architecture` of the image that is meant, where there are several.

    Raises:
        UsageError: There is no image for the platform.
        RegistryFault: It can't be read.
    """
    if isinstance(image, OciLayout):
        return of_layout(image)
    with Registry(image, access) as registry:
        return of_registry(registry, image, platform)


def _is_there(named: str) -> bool:
    try:
        return Path(named).exists()
    except OSError:  # longer than a path can be
        return False


def of_layout(layout: OciLayout) -> ImageSize:
    """Return what the image of a layout weighs."""
    config = layout.manifest.config
    _bounded(str(layout.path), config.size)
    with layout.open_blob(config.digest) as stream:
        return _image(str(layout.path), layout.manifest, stream.read())


def of_registry(registry: Registry, reference: Reference, platform: str) -> ImageSize:
    """Return what the image that `reference` names weighs."""
    manifest = registry.manifest(reference.digest or reference.tag)
    if manifest.descriptor.media_type in {INDEX, DOCKER_INDEX}:
        manifest = registry.manifest(_of_platform(manifest, platform, str(reference)))
    try:
        config = manifest.config
    except ValueError as error:
        raise BrokenArtifact(str(reference), _PHASE, str(error)) from error
    return _image(str(reference), manifest, registry.blob(config, DOCUMENT_LIMIT))


def _bounded(named: str, length: int) -> None:
    if length > DOCUMENT_LIMIT:
        raise BrokenArtifact(named, _PHASE, f"the config is over {DOCUMENT_LIMIT} bytes long")


def _of_platform(index: Manifest, platform: str, named: str) -> str:
    """Return the digest of the index's image for `platform`."""
    try:
        entries = index.document.get("manifests")
        pairs = zip(index.manifests, entries if isinstance(entries, list) else (), strict=True)
        found: dict[str, str] = {}
        for each, entry in pairs:
            found.setdefault(_platform(entry), each.digest)
    except ValueError as error:
        raise BrokenArtifact(named, _PHASE, str(error)) from error
    if platform not in found:
        there = one_line(", ".join(sorted(found))) or "none"
        raise UsageError(f"{named}: has no image for {platform}; name one by --platform: {there}")
    return found[platform]


def _platform(entry: Mapping[str, Any]) -> str:
    told = entry.get("platform")
    told = told if isinstance(told, dict) else {}
    return "/".join(str(told.get(key, "unknown")) for key in ("os", "architecture"))


def _image(named: str, manifest: Manifest, config: bytes) -> ImageSize:
    try:
        layers = manifest.layers
    except ValueError as error:
        raise BrokenArtifact(named, _PHASE, str(error)) from error
    if any(layer.size > MOST_BYTES for layer in layers):
        raise BrokenArtifact(named, _PHASE, "a layer has a size that none can have")
    names = _unique(_names(_history(named, config), len(layers)))
    pairs = zip(names, layers, strict=True)
    measured = tuple(Layer(name, layer.digest, layer.size) for name, layer in pairs)
    return ImageSize(named, manifest.descriptor.digest, measured)


def _history(named: str, config: bytes) -> list[Mapping[str, Any]]:
    """Return the steps that made a layer; empty where the config doesn't say."""
    try:
        document = json.loads(config)
    except (ValueError, RecursionError) as error:
        raise BrokenArtifact(named, _PHASE, "the image's config is no JSON") from error
    told = document.get("history") if isinstance(document, dict) else None
    steps = told if isinstance(told, list) else []
    return [step for step in steps if isinstance(step, dict) and not step.get("empty_layer")]


def _names(steps: list[Mapping[str, Any]], layers: int) -> Iterator[str]:
    """Yield a name for each layer; a history of other layers than there are says nothing."""
    told = steps if len(steps) == layers else [{}] * layers
    return (layer_name(step.get("created_by"), at) for at, step in enumerate(told, 1))


def _unique(names: Iterator[str]) -> Iterator[str]:
    """Yield the names, each that was there before with the first number that makes it new."""
    seen: set[str] = set()
    for name in names:
        new = next(each for each in _numbered(name) if each not in seen)
        seen.add(new)
        yield new


def _numbered(name: str) -> Iterator[str]:
    yield name
    yield from (f"{name} ({number})" for number in count(2))
