"""Images as OCI layouts on this disk."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ci.errors import BrokenArtifact, SglangCiError, UsageError
from ci.image.layout import OciLayout
from ci.registry.exchange import BLOCK
from ci.registry.oci import INDEX, MANIFEST, Descriptor, canonical
from tests.fakes.layout import blob_path, image, layout, write_folder, write_tar

pytestmark = pytest.mark.unit

Write = Callable[[Path, Mapping[str, bytes]], Path]
FILES = image((b"one" * 300_000, b"two", b"one" * 300_000), {"version": "1.2"})


@pytest.fixture(params=[write_tar, write_folder], ids=["tar", "folder"])
def write(request: pytest.FixtureRequest) -> Write:
    """A way to write a layout."""
    return request.param  # type: ignore[no-any-return]


def test_an_image_is_read_where_it_lies(write: Write, tmp_path: Path) -> None:
    """What is pushed isn't what was built."""
    found = OciLayout.open(write(tmp_path / "image", FILES))
    assert found.image == Descriptor.of(MANIFEST, found.manifest.content)
    assert found.manifest.content == FILES[blob_path(found.image.digest)]
    assert [blob.size for blob in found.blobs()][1:] == [900_000, 3]
    for blob in found.blobs():
        with found.open_blob(blob.digest) as stream:
            assert stream.read() == FILES[blob_path(blob.digest)]
    assert found.label("version") == "1.2"
    assert found.label("other") == ""


def test_blobs_are_read_side_by_side(write: Write, tmp_path: Path) -> None:
    """Two uploads at the same time get each other's content."""
    found = OciLayout.open(write(tmp_path / "image", FILES))
    first, second = found.blobs()[1:]
    with found.open_blob(first.digest) as one, found.open_blob(second.digest) as two:
        assert one.read(4) == b"oneo"
        assert two.read(2) == b"tw"
        assert one.read(4) == b"neon"


def test_names_as_tar_writes_them(tmp_path: Path) -> None:
    """A layout that `tar -C layout .` made is empty."""
    dotted = {f"./{name}": content for name, content in FILES.items()}
    assert OciLayout.open(write_tar(tmp_path / "image", dotted)).label("version") == "1.2"


@pytest.mark.parametrize("damage", ["changed", "shorter", "longer", "missing"])
def test_damage_is_found(write: Write, tmp_path: Path, damage: str) -> None:
    """A file that was damaged on the disk is released."""
    files = dict(FILES)
    name = blob_path(Descriptor.of("", b"two").digest)
    if damage == "missing":
        del files[name]
    else:
        files[name] = {"changed": b"twX", "shorter": b"tw", "longer": b"twos"}[damage]
    found = OciLayout.open(write(tmp_path / "image", files))
    with pytest.raises(BrokenArtifact, match=f"{tmp_path / 'image'}: read layout: "):
        found.open_blob(found.blobs()[2].digest).read()


def test_a_damaged_block_is_not_given_away(tmp_path: Path) -> None:
    """The last block of damaged content is sent before anybody notices."""
    files = dict(FILES)
    digest = Descriptor.of("", b"one" * 300_000).digest
    files[blob_path(digest)] = b"oneX" * 225_000
    given: list[bytes] = []
    with (
        OciLayout.open(write_tar(tmp_path / "image", files)).open_blob(digest) as stream,
        pytest.raises(BrokenArtifact, match="isn't what its digest says"),
    ):
        given.extend(iter(partial(stream.read, BLOCK), b""))
    assert 0 < sum(map(len, given)) < 900_000


def test_a_tar_that_was_cut_is_found(tmp_path: Path) -> None:
    """Half a tar is half an image."""
    path = write_tar(tmp_path / "image", FILES)
    content = path.read_bytes()
    for length in (len(content) // 2, 700):
        path.write_bytes(content[:length])
        with pytest.raises(SglangCiError, match="image"):
            OciLayout.open(path).open_blob(Descriptor.of("", b"two").digest).read()


def test_what_is_no_layout_is_named(tmp_path: Path) -> None:
    """A wrong path is a traceback."""
    packed = tmp_path / "image.tar.gz"
    with tarfile.open(packed, "w:gz"):
        pass
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").write_text("not a tar" * 1000)
    cases = {
        "missing": "No such file",
        "empty": "it has no index.json",
        "image.tar.gz": "neither an uncompressed tar nor a folder",
        "text": "neither an uncompressed tar nor a folder",
    }
    for name, why in cases.items():
        with pytest.raises(UsageError, match=f"{tmp_path / name}: no OCI layout: {why}"):
            OciLayout.open(tmp_path / name)


ENTRY = Descriptor.of(MANIFEST, b"{}").to_dict()


@pytest.mark.parametrize(
    ("index", "kind"),
    [
        ({}, UsageError),
        ({"manifests": []}, UsageError),
        ({"manifests": [ENTRY, ENTRY]}, UsageError),
        ({"manifests": [ENTRY | {"mediaType": INDEX}]}, UsageError),
        ({"manifests": [{}]}, BrokenArtifact),
        ({"manifests": "x"}, BrokenArtifact),
        ([], BrokenArtifact),
    ],
)
def test_a_layout_of_another_kind_is_named(
    tmp_path: Path, index: Any, kind: type[SglangCiError]
) -> None:
    """Of several images one is released at random, or none."""
    files = FILES | {"index.json": json.dumps(index).encode()}
    with pytest.raises(kind, match=str(tmp_path)):
        OciLayout.open(write_tar(tmp_path / "image", files))


@pytest.mark.parametrize(
    "manifest",
    [b"[]", b"{", canonical({"layers": []}), canonical({"config": ENTRY, "layers": [{}]})],
)
def test_a_malformed_manifest_is_named(tmp_path: Path, manifest: bytes) -> None:
    """An image without a config is a crash in the middle of a push."""
    found = OciLayout.open(write_tar(tmp_path / "image", layout(manifest, [b"{}"])))
    with pytest.raises(BrokenArtifact, match="read layout"):
        found.blobs()


@pytest.mark.parametrize("config", [b"{", b"[]", b"{}", b'{"config": {"Labels": 7}}'])
def test_a_malformed_config_is_named(tmp_path: Path, config: bytes) -> None:
    """An image's labels can't be read, and it is a crash."""
    manifest = canonical({"config": Descriptor.of("", config).to_dict(), "layers": []})
    found = OciLayout.open(write_tar(tmp_path / "image", layout(manifest, [config])))
    with pytest.raises(BrokenArtifact, match="config is malformed"):
        found.label("version")


def test_an_image_without_labels(tmp_path: Path) -> None:
    """An image that has no labels can't be released."""
    for config in (b'{"config": {}}', b'{"config": {"Labels": null}}'):
        manifest = canonical({"config": Descriptor.of("", config).to_dict(), "layers": []})
        path = write_tar(tmp_path / "image", layout(manifest, [config]))
        assert OciLayout.open(path).label("version") == ""
