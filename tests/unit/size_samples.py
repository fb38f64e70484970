"""Images of chosen layers, and listings of what is installed in them, for tests of sizes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ci.image.listing import Installed
from ci.image.size import MeasuredImage
from ci.image.weight import ImageSize, Layer
from ci.registry.oci import MANIFEST, Descriptor, canonical
from tests.fakes.layout import CONFIG, LAYER, layout

MB = 1_000_000
DIGEST = "sha256:" + "0" * 64


def layers(**sizes: int) -> tuple[Layer, ...]:
    """Return layers of these names and sizes in MB, each with a digest of its own."""
    return tuple(
        Layer(name, Descriptor.of("", f"{name}{count}".encode()).digest, count * MB)
        for name, count in sizes.items()
    )


def side(
    sizes: Mapping[str, int],
    packages: Mapping[str, int] | None = None,
    debian: Mapping[str, int] | None = None,
) -> MeasuredImage:
    """Return an image of these layers, packages and Debian packages, all in MB."""
    image = ImageSize("r.example/x:y", DIGEST, layers(**sizes))
    if packages is None and debian is None:
        return MeasuredImage(image)
    return MeasuredImage(image, listing(packages or {}, debian or {}))


def listing(packages: Mapping[str, int], debian: Mapping[str, int]) -> Installed:
    """Return a listing of packages of these sizes in MB."""
    parts = [
        [{"name": name, "version": "1", "bytes": count * MB} for name, count in each.items()]
        for each in (packages, debian)
    ]
    told = {"schema_version": "1.1", "python": "3.11", "distributions": parts[0]}
    return Installed.model_validate_json(json.dumps(told | {"packages": parts[1]}))


def files(blobs: Sequence[bytes], config: Any) -> tuple[dict[str, bytes], bytes]:
    """Return the layout of an image with these layers and this config, and its manifest."""
    content = config if isinstance(config, bytes) else canonical(config)
    manifest = canonical(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": Descriptor.of(CONFIG, content).to_dict(),
            "layers": [Descriptor.of(LAYER, blob).to_dict() for blob in blobs],
        }
    )
    return layout(manifest, [content, *blobs]), manifest
