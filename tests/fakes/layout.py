"""Small images as OCI layouts, of known content."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from ci.registry.oci import INDEX, MANIFEST, Descriptor, canonical

CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+zstd"

REFERENCE_NAME = "org.opencontainers.image.ref.name"


def image(
    layers: Sequence[bytes] = (b"first layer", b"second layer"),
    labels: Mapping[str, str] | None = None,
) -> dict[str, bytes]:
    """Return the files of a layout of one image, by their paths in it."""
    details = {"architecture": "amd64", "os": "linux", "config": {"Labels": dict(labels or {})}}
    config = canonical(details | {"rootfs": {"type": "layers", "diff_ids": []}})
    parts = [Descriptor.of(LAYER, layer) for layer in layers]
    manifest = canonical(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": Descriptor.of(CONFIG, config).to_dict(),
            "layers": [part.to_dict() for part in parts],
        }
    )
    return layout(manifest, [config, *layers])


def layout(manifest: bytes, blobs: Sequence[bytes]) -> dict[str, bytes]:
    """Return the files of a layout of one manifest and what it names."""
    entry = Descriptor.of(MANIFEST, manifest, annotations={REFERENCE_NAME: "latest"})
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry.to_dict()]}
    files = {blob_path(Descriptor.of("", each).digest): each for each in (manifest, *blobs)}
    version = json.dumps({"imageLayoutVersion": "1.0.0"}).encode()
    return files | {"index.json": json.dumps(index).encode(), "oci-layout": version}


def blob_path(digest: str) -> str:
    """Return where a blob lies in a layout."""
    return f"blobs/{digest.replace(':', '/')}"


def write_tar(path: Path, files: Mapping[str, bytes]) -> Path:
    """Write the files of a layout as a tar, as `as_tarball` does."""
    with tarfile.open(path, "w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def write_folder(path: Path, files: Mapping[str, bytes]) -> Path:
    """Write the files of a layout into a folder."""
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path
