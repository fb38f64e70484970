"""What an image weighs, read from a layout or a registry, and the names of its layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ci.errors import BrokenArtifact, UsageError
from ci.image.layout import OciLayout
from ci.image.weight import find, measure
from ci.image.words import LONGEST_NAME, change, layer_name, size
from ci.registry.access import Access
from ci.registry.oci import INDEX, MANIFEST, Descriptor, canonical
from ci.report.text import clean
from tests.fakes.layout import CONFIG, write_folder, write_tar
from tests.fakes.registry import FakeRegistry
from tests.unit.size_samples import files

pytestmark = pytest.mark.unit

BLOBS = (b"a" * 10, b"b" * 20, b"b" * 20)
HISTORY = [
    {"created_by": "ADD file:0123456789abcdef0123456789abcdef in /"},
    {"created_by": "ENV A=b", "empty_layer": True},
    {"created_by": "RUN |1 TOKEN=x /bin/sh -c pip install sglang # buildkit"},
    {"created_by": "RUN |1 TOKEN=y /bin/sh -c pip install sglang # buildkit"},
]
NAMES = ["ADD file:… in /", "RUN pip install sglang", "RUN pip install sglang (2)"]


def serve(fake: FakeRegistry, config: Any, blobs: tuple[bytes, ...] = BLOBS) -> str:
    """Put an image into a registry, without its layers, and return its reference."""
    _, manifest = files(blobs, config)
    content = config if isinstance(config, bytes) else canonical(config)
    digest = Descriptor.of("", manifest).digest
    fake.blobs[Descriptor.of(CONFIG, content).digest] = content
    fake.manifests[digest] = (MANIFEST, manifest)
    fake.tags["v1"] = digest
    return f"{fake.reference()}:v1"


@pytest.mark.parametrize("form", ["tar", "folder"])
def test_a_layout_is_weighed_by_layer(tmp_path: Path, form: str) -> None:
    """Layers are named after steps that made none, or one that is there twice counts twice."""
    content, _ = files(BLOBS, {"history": HISTORY})
    write = write_tar if form == "tar" else write_folder
    found = measure(find(str(write(tmp_path / "image", content))), Access())
    assert [layer.name for layer in found.layers] == NAMES
    assert [layer.bytes for layer in found.layers] == [10, 20, 20]
    assert found.total == 30


def test_a_registrys_image_is_weighed_without_its_layers(fake: FakeRegistry) -> None:
    """Gigabytes are pulled to learn their size."""
    found = measure(find(serve(fake, {"history": HISTORY})), fake.access)
    assert ([layer.name for layer in found.layers], found.total) == (NAMES, 30)
    assert len(fake.requests) == 2


def test_an_index_gives_the_image_of_the_platform(fake: FakeRegistry) -> None:
    """The attestation beside an image, or another machine's image, is weighed."""
    serve(fake, {})
    ours = fake.tags["v1"]
    places = [("unknown", "unknown"), ("linux", "amd64"), ("linux", "arm64")]
    entries = [
        Descriptor.of(MANIFEST, name.encode()).to_dict()
        | {"platform": {"os": name, "architecture": machine}}
        for name, machine in places
    ]
    entries[1] |= {"digest": ours}
    index = canonical({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries})
    fake.tags["all"] = Descriptor.of("", index).digest
    fake.manifests[fake.tags["all"]] = (INDEX, index)
    named = find(f"{fake.reference()}:all")
    assert measure(named, fake.access).digest == ours
    with pytest.raises(UsageError, match=r"no image for windows/amd64.*--platform: linux/amd64"):
        measure(named, fake.access, "windows/amd64")


@pytest.mark.parametrize(
    "history",
    [None, "x", 1, [], HISTORY[:2], [None, 1, "x"], [{"created_by": 7}] * 3, [{}] * 3],
    ids=repr,
)
def test_a_history_that_says_nothing_leaves_numbers(fake: FakeRegistry, history: Any) -> None:
    """A layer has the name of another one's step, or an odd config ends in a traceback."""
    found = measure(find(serve(fake, {"history": history})), fake.access)
    assert [layer.name for layer in found.layers] == ["layer 1", "layer 2", "layer 3"]


@pytest.mark.parametrize("config", [b"", b"\xff", b"[" * 100_000, b"{"])
def test_a_broken_config_is_a_broken_artifact(fake: FakeRegistry, config: bytes) -> None:
    """A broken image reads as a bug of ours."""
    named = find(serve(fake, config))
    with pytest.raises(BrokenArtifact, match="the image's config is no JSON"):
        measure(named, fake.access)


def test_names_are_unique_whatever_the_history_says(fake: FakeRegistry) -> None:
    """Two layers have one name, and one of them hides the other."""
    history = [{"created_by": name} for name in ("x (2)", "x", "x")]
    found = measure(find(serve(fake, {"history": history})), fake.access)
    assert [layer.name for layer in found.layers] == ["x (2)", "x", "x (3)"]


def test_a_size_that_none_can_have_is_a_broken_artifact(fake: FakeRegistry) -> None:
    """A number of a thousand digits ends in a traceback."""
    named = find(serve(fake, {}))
    media_type, manifest = fake.manifests[fake.tags["v1"]]
    changed = manifest.replace(b'"size":10', b'"size":1' + b"0" * 1000)
    fake.tags["v1"] = Descriptor.of("", changed).digest
    fake.manifests[fake.tags["v1"]] = (media_type, changed)
    with pytest.raises(BrokenArtifact, match="a size that none can have"):
        measure(named, fake.access)


def test_what_is_no_image_is_a_usage_error(tmp_path: Path) -> None:
    """A mistyped path or a reference without a tag reads as a fault of a registry."""
    with pytest.raises(UsageError, match="no layout is there, and"):
        find("image.tar")
    with pytest.raises(UsageError, match="name a tag or a digest"):
        find("r.example/team/image")
    with pytest.raises(UsageError):
        find("x" * 5000)
    with pytest.raises(UsageError, match="no OCI layout"):
        find(str(tmp_path))
    content, _ = files((), {})
    assert isinstance(find(str(write_tar(tmp_path / "t", content))), OciLayout)


@pytest.mark.parametrize(
    ("created_by", "name"),
    [
        ("/bin/sh -c #(nop) COPY dir:0123456789abcdef01 in /app ", "COPY dir:… in /app"),
        ("/bin/sh -c apt-get update", "RUN apt-get update"),
        ("RUN /bin/bash -eux -c make # buildkit", "RUN make"),
        ("COPY . /app # buildkit", "COPY . /app"),
        ("RUN |2 A=b PASSWORD=hunter2 /bin/sh -c make # buildkit", "RUN make"),
        ("RUN echo '\x1b[31m\x00'\n  two", "RUN echo '\N{REPLACEMENT CHARACTER}' two"),
        ("", "layer 3"),
        (None, "layer 3"),
        ({"x": 1}, "layer 3"),
    ],
)
def test_names_of_layers(created_by: object, name: str) -> None:
    """A layer has another name in each build, or one that nobody can read."""
    assert layer_name(created_by, 3) == name


@given(st.text())
def test_any_name_is_one_short_line(text: str) -> None:
    """A hostile history breaks a report's lines."""
    name = layer_name(text * 3, 1)
    assert 0 < len(name) <= LONGEST_NAME
    assert name.splitlines() == [clean(name)]


def test_sizes_in_words() -> None:
    """A size is off by a thousand, or has a unit that doesn't fit it."""
    told = [size(n) for n in (0, 95, 999, 1000, 999_499, 999_999, 1_234_567_890, 10**19)]
    assert told == ["0 B", "95 B", "999 B", "1 kB", "999 kB", "1 MB", "1.23 GB", "1e+04 PB"]
    assert change(10**9, 1_100_000_000) == "1 GB to 1.1 GB (+10.0 %)"
    assert change(0, 5) == "0 B to 5 B (new)"
