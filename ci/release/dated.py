"""An image whose digest says what it is, and not when it was made.

Dagger notes in an image's configuration at which instant each layer was made, and heeds no
SOURCE_DATE_EPOCH there. With the label's time in their place, an image that is built anew of
the same commit has the same digest, and publishing it again changes nothing.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ci.errors import BrokenArtifact
from ci.release.layout import OciLayout, _Place
from ci.release.oci import Descriptor, canonical


def dated(layout: OciLayout, time: datetime, folder: Path) -> OciLayout:
    """Return the image of `layout` with one time in its configuration, and the same layers.

    Args:
        layout: The image.
        time: When it and each of its layers is to be from.
        folder: An empty one, for the configuration and the manifest; the layers stay where they
            are.

    Raises:
        BrokenArtifact: The configuration is malformed.
    """
    moment = time.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    manifest = layout.manifest.document
    config = canonical(_at(layout, moment))
    described = manifest["config"]
    manifest = manifest | {
        "config": described | Descriptor.of(described["mediaType"], config).to_dict()
    }
    content = canonical(manifest)
    image = Descriptor.of(layout.image.media_type, content)
    return replace(
        layout, image=image, places={**layout.places, **_written(folder, config, content)}
    )


def _at(layout: OciLayout, moment: str) -> dict[str, Any]:
    """Return the configuration with `moment` as its time and as that of each layer."""
    with layout.open_blob(layout.manifest.config.digest) as stream:
        content = stream.read()
    try:
        config: dict[str, Any] = dict(json.loads(content))
        history = [{**step, "created": moment} for step in config.get("history", [])]
    except (ValueError, TypeError) as error:
        problem = "the image's config is malformed"
        raise BrokenArtifact(str(layout.path), "read layout", problem) from error
    return config | {"created": moment, "history": history}


def _written(folder: Path, *contents: bytes) -> dict[str, _Place]:
    places = {}
    for content in contents:
        digest = Descriptor.of("", content).digest.replace(":", "/")
        file = folder / Path(digest).name
        file.write_bytes(content)
        places[f"blobs/{digest}"] = _Place(file, 0, len(content))
    return places
