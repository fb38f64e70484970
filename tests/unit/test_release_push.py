"""An image's way into a registry."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from ci.errors import (
    BrokenArtifact,
    ConflictingWrite,
    RegistryBusy,
    RegistryFull,
    RegistryUnreachable,
    TagTaken,
    UsageError,
)
from ci.image.layout import OciLayout
from ci.image.push import push
from ci.registry.client import Registry
from ci.registry.oci import MANIFEST, Descriptor
from tests.fakes.layout import blob_path, image, write_tar
from tests.fakes.registry import (
    FakeRegistry,
    Handler,
    cutting,
    failing,
    meanwhile,
    silent,
)

pytestmark = pytest.mark.unit

FILES = image((b"a" * 700_000, b"b", b"c" * 900_000, b"d", b"e" * 500_000))
OTHER = b'{"schemaVersion": 2}'


@pytest.fixture
def layout(tmp_path: Path) -> OciLayout:
    """An image of five layers."""
    return OciLayout.open(write_tar(tmp_path / "image.tar", FILES))


def test_a_whole_image_is_pushed(fake: FakeRegistry, client: Registry, layout: OciLayout) -> None:
    """What is in the registry isn't the image that was built."""
    lines: list[str] = []
    pushed = push(layout, client, fake.reference(tag="v1"), progress=lines.append)
    digest = layout.image.digest
    assert pushed.reference == fake.reference().at(digest)
    assert (pushed.blobs_sent, pushed.blobs_there) == (6, 0)
    assert pushed.bytes_sent == sum(blob.size for blob in layout.blobs())
    assert pushed.seconds > 0
    assert fake.tags == {"v1": digest}
    assert fake.manifests[digest] == (MANIFEST, layout.manifest.content)
    assert fake.blobs == {each.digest: FILES[blob_path(each.digest)] for each in layout.blobs()}
    assert fake.requests[-1].startswith("PUT /v2/team/image/manifests/v1")
    assert len(lines) == 6
    assert all("bytes) uploaded in " in line for line in lines)


def test_pushing_again_does_nothing(
    fake: FakeRegistry, client: Registry, layout: OciLayout
) -> None:
    """A release that is repeated fails, or sends everything once more."""
    first = push(layout, client, fake.reference(tag="v1"))
    fake.requests.clear()
    again = push(layout, client, fake.reference(tag="v1"))
    assert again.reference == first.reference
    assert (again.bytes_sent, again.blobs_sent, again.blobs_there) == (0, 0, 6)
    assert fake.requests == ["HEAD /v2/team/image/manifests/v1"]


def test_only_what_is_missing_is_sent(
    fake: FakeRegistry, client: Registry, layout: OciLayout
) -> None:
    """Layers that a registry has are sent with every release."""
    there = layout.blobs()[3]
    fake.blobs[there.digest] = FILES[blob_path(there.digest)]
    lines: list[str] = []
    pushed = push(layout, client, fake.reference(tag="v1"), progress=lines.append)
    assert (pushed.blobs_sent, pushed.blobs_there) == (5, 1)
    assert pushed.bytes_sent == sum(blob.size for blob in layout.blobs()) - there.size
    assert f"{there.digest} ({there.size} bytes) is there" in lines


def test_a_taken_tag_is_left_alone(fake: FakeRegistry, client: Registry, layout: OciLayout) -> None:
    """A released version becomes another image; or gigabytes are sent before that is noticed."""
    theirs = fake.put(MANIFEST, OTHER, "v1")
    with pytest.raises(TagTaken) as caught:
        push(layout, client, fake.reference(tag="v1"))
    ours = layout.image.digest
    line = f"{fake.address}/team/image:v1 exists with another digest: {theirs}, not {ours}"
    assert str(caught.value) == line
    assert fake.requests == ["HEAD /v2/team/image/manifests/v1"]
    assert fake.tags == {"v1": theirs}


def test_a_tag_that_may_move_moves(fake: FakeRegistry, client: Registry, layout: OciLayout) -> None:
    """A tag like `nightly` stays where it was for ever."""
    fake.put(MANIFEST, OTHER, "nightly")
    push(layout, client, fake.reference(tag="nightly"), immutable=False)
    assert fake.tags == {"nightly": layout.image.digest}


@pytest.mark.parametrize(
    ("when", "swaps"), [("POST", True), ("POST", False), ("PUT .*/manifests", True)]
)
def test_a_tag_that_is_taken_during_the_push(
    fake: FakeRegistry, client: Registry, layout: OciLayout, when: str, *, swaps: bool
) -> None:
    """Two releases of one version at once: the second overwrites the first."""
    fake.swaps = swaps
    fake.fault(when, meanwhile(lambda: fake.put(MANIFEST, OTHER, "v1")), times=1)
    theirs = Descriptor.of("", OTHER).digest
    with pytest.raises(TagTaken, match=theirs):
        push(layout, client, fake.reference(tag="v1"))
    assert fake.tags == {"v1": theirs}


def test_a_tag_that_comes_and_goes(fake: FakeRegistry, client: Registry, layout: OciLayout) -> None:
    """A lost race without a winner is a crash."""
    fake.fault("PUT .*/manifests", failing(412))
    with pytest.raises(ConflictingWrite, match="v1: write manifest: answered 412"):
        push(layout, client, fake.reference(tag="v1"))


def test_a_push_goes_where_its_reference_says(
    fake: FakeRegistry, client: Registry, layout: OciLayout
) -> None:
    """An image lands in another repository than the one that was named."""
    for reference in (fake.reference(), fake.reference("other/image", "v1")):
        with pytest.raises(UsageError, match="it has to be a tag in"):
            push(layout, client, reference)
    assert not fake.requests


def test_a_cut_during_a_layer_is_survived(
    fake: FakeRegistry, client: Registry, layout: OciLayout
) -> None:
    """One cut connection costs a whole release."""
    fake.fault("PUT .*/uploads/", cutting(after=100_000), times=2)
    pushed = push(layout, client, fake.reference(tag="v1"))
    assert pushed.blobs_sent == 6
    assert fake.tags == {"v1": layout.image.digest}


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (cutting(after=100_000), RegistryUnreachable),
        (failing(503), RegistryBusy),
        (failing(507), RegistryFull),
    ],
    ids=["cut", "busy", "full"],
)
def test_half_an_image_has_no_tag(
    fake: FakeRegistry,
    client: Registry,
    layout: OciLayout,
    fault: object,
    kind: type[Exception],
) -> None:
    """A push that failed left a tag that can't be pulled."""
    fake.fault("PUT .*/uploads/", fault)  # type: ignore[arg-type]
    with pytest.raises(kind, match=r"team/image@sha256:\w+: upload blob: "):
        push(layout, client, fake.reference(tag="v1"))
    assert not fake.tags


def test_a_damaged_layer_is_not_released(
    fake: FakeRegistry, client: Registry, tmp_path: Path
) -> None:
    """A file that was damaged on the disk is released."""
    digest = Descriptor.of("", b"c" * 900_000).digest
    files = FILES | {blob_path(digest): b"X" * 900_000}
    layout = OciLayout.open(write_tar(tmp_path / "damaged.tar", files))
    with pytest.raises(BrokenArtifact, match=f"the content of {digest} isn't"):
        push(layout, client, fake.reference(tag="v1"))
    assert digest not in fake.blobs
    assert not fake.tags


def test_layers_go_side_by_side(fake: FakeRegistry, client: Registry, layout: OciLayout) -> None:
    """One slow layer holds up all others."""
    together = threading.Barrier(3)
    fake.fault("PUT .*/uploads/", lambda _: together.wait(timeout=30) < 0, times=3)
    push(layout, client, fake.reference(tag="v1"))
    assert fake.count("PUT .*/uploads/") == 6


def test_the_first_failure_ends_the_others(fake: FakeRegistry, tmp_path: Path) -> None:
    """A push that failed goes on for as long as its largest layer takes."""
    files = image((bytes(24_000_000), b"full"))
    layout = OciLayout.open(write_tar(tmp_path / "large.tar", files))
    begun = threading.Event()

    def trickle(request: Handler) -> bool:
        begun.set()
        while request.unread and not request.server.registry.closing.wait(0.05):
            request.unread -= len(request.rfile.read(min(50_000, request.unread)))
        return silent(request)

    def refuse(request: Handler) -> bool:
        begun.wait(timeout=30)
        return failing(507)(request)

    large, small = layout.blobs()[1:]
    fake.fault(f"PUT .*{large.digest}", trickle)
    fake.fault(f"PUT .*{small.digest}", refuse)
    access = replace(fake.access, timeout=20, attempts=1)
    started = time.monotonic()
    with Registry(fake.reference(), access) as client, pytest.raises(RegistryFull):
        push(layout, client, fake.reference(tag="v1"))
    assert time.monotonic() - started < 15
