"""Images whose digest doesn't depend on when they were made."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from ci.errors import BrokenArtifact
from ci.release.dated import dated
from ci.release.layout import OciLayout
from ci.release.oci import MANIFEST, Descriptor, canonical
from tests.fakes.layout import CONFIG, LAYER, layout, write_tar

pytestmark = pytest.mark.unit

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def built(path: Path, config: Any) -> OciLayout:
    """Return an image of one layer with a configuration."""
    content, layer = canonical({"it": config})[6:-1], b"a layer"
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "annotations": {"kept": "yes"},
        "config": Descriptor.of(CONFIG, content).to_dict(),
        "layers": [Descriptor.of(LAYER, layer).to_dict()],
    }
    return OciLayout.open(write_tar(path, layout(canonical(manifest), [content, layer])))


def made_at(path: Path, moment: str) -> OciLayout:
    """Return an image whose configuration says that it was made at `moment`."""
    history = [{"created": moment, "created_by": "COPY"}, {"created_by": "ENV"}]
    labels = {"Labels": {"version": "1"}}
    return built(path, {"created": moment, "history": history, "config": labels, "os": "linux"})


def folder(path: Path, name: str) -> Path:
    """Return a new folder."""
    (path / name).mkdir()
    return path / name


def test_the_same_content_has_the_same_digest(tmp_path: Path) -> None:
    """A commit that is built and published anew takes a tag that is taken."""
    first = made_at(tmp_path / "1.tar", "2026-11-23T12:00:01.1Z")
    second = made_at(tmp_path / "2.tar", "2026-11-23T13:00:01.2Z")
    assert first.image != second.image
    one = dated(first, NOON, folder(tmp_path, "1"))
    two = dated(second, NOON.astimezone(timezone(timedelta(hours=2))), folder(tmp_path, "2"))
    assert one.image == two.image


def test_nothing_else_changes(tmp_path: Path) -> None:
    """What is published isn't what was proven."""
    before = made_at(tmp_path / "image.tar", "2026-11-23T11:00:00Z")
    after = dated(before, NOON, folder(tmp_path, "folder"))
    assert after.image == Descriptor.of(MANIFEST, after.manifest.content)
    assert after.manifest.layers == before.manifest.layers
    kept = {"config": None}
    assert after.manifest.document | kept == before.manifest.document | kept
    assert after.label("version") == "1"
    for blob in after.blobs():
        with after.open_blob(blob.digest) as stream:
            assert len(stream.read()) == blob.size
    with after.open_blob(after.manifest.config.digest) as stream:
        assert json.load(stream) == {
            "created": "2026-11-23T12:00:00Z",
            "history": [
                {"created": "2026-11-23T12:00:00Z", "created_by": "COPY"},
                {"created": "2026-11-23T12:00:00Z", "created_by": "ENV"},
            ],
            "config": {"Labels": {"version": "1"}},
            "os": "linux",
        }


@pytest.mark.parametrize("config", [[1], {"history": 1}, {"history": ["COPY"]}], ids=str)
def test_a_malformed_configuration_is_said(config: object, tmp_path: Path) -> None:
    """A broken image ends with a traceback."""
    with pytest.raises(BrokenArtifact, match="config is malformed"):
        dated(built(tmp_path / "image.tar", config), NOON, folder(tmp_path, "folder"))
