"""Real registries: what the fake is believed to be, and faults that only a real one has."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from ci.errors import RegistryFull, RegistryRefused, RegistryUnreachable, TagTaken
from ci.image.layout import OciLayout
from ci.image.push import push
from ci.registry.client import Registry
from ci.registry.oci import BUNDLE, CREATED, MANIFEST, Descriptor
from ci.registry.referrers import tag_of
from tests.fakes.layout import image, write_tar
from tests.registries import PASSWORD, Running, docker_registry, referrers_registry

pytestmark = pytest.mark.live

KINDS: dict[str, Callable[[Path], AbstractContextManager[Running]]] = {
    "plain HTTP": docker_registry,
    "user and secret": partial(docker_registry, login=True),
    "self-signed": partial(docker_registry, tls=True),
    "self-signed, user and secret": partial(docker_registry, tls=True, login=True),
    "referrers API": referrers_registry,
}
NOTES = {CREATED: "2025-01-01T00:00:00Z"}


@pytest.fixture(params=KINDS)
def running(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Running]:
    """A real registry with nothing in it."""
    with KINDS[request.param](tmp_path) as registry:
        yield registry


@pytest.fixture(params=["plain HTTP", "referrers API"])
def plain(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Running]:
    """A real registry of each kind that other tools reach without more ado."""
    with KINDS[request.param](tmp_path) as registry:
        yield registry


def layout(folder: Path, *, layer: bytes = b"layer" * 300_000) -> OciLayout:
    """Return an image of two layers, one of which is `layer`."""
    return OciLayout.open(write_tar(folder / "image.tar", image((layer, b"second"))))


def run(*argv: str) -> str:
    """Return the output of another tool, skipping where it isn't installed."""
    if shutil.which(argv[0]) is None:
        pytest.skip(f"{argv[0]} isn't installed")
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_an_image_and_what_is_attached_to_it(running: Running, tmp_path: Path) -> None:
    """A real registry refuses, or stores otherwise, what the fake takes."""
    built = layout(tmp_path)
    with Registry(running.reference(), running.access) as client:
        assert (client.resolve("v1"), client.tags()) == (None, [])
        pushed = push(built, client, running.reference(tag="v1"))
        assert pushed.blobs_sent == 3
        assert client.resolve("v1") == client.resolve(built.image.digest) == built.image
        assert client.manifest("v1").content == built.manifest.content
        assert client.blob(built.manifest.config, 10_000).startswith(b"{")
        one = client.attach(built.image, BUNDLE, [(BUNDLE, b"one", {})], NOTES)
        two = client.attach(built.image, "text/x-note", [], NOTES)
        assert client.attach(built.image, BUNDLE, [(BUNDLE, b"one", {})], NOTES) == one
        assert set(client.referrers(built.image.digest)) == {one, two}
        assert client.referrers(built.image.digest, BUNDLE) == (one,)
        assert set(client.tags()) <= {"v1", tag_of(built.image.digest)}


def test_a_released_tag_stays(running: Running, tmp_path: Path) -> None:
    """A real registry lets a released version become another image."""
    built = layout(tmp_path)
    with Registry(running.reference(), running.access) as client:
        push(built, client, running.reference(tag="v1"))
        assert push(built, client, running.reference(tag="v1")).blobs_sent == 0
        with pytest.raises(TagTaken, match=f"not {layout(tmp_path, layer=b'x').image.digest}"):
            push(layout(tmp_path, layer=b"x"), client, running.reference(tag="v1"))
        put = client.put_manifest("prod", built.manifest.content, MANIFEST, expected=None)
        assert client.put_manifest("prod", built.manifest.content, MANIFEST, expected=put.digest)
    assert PASSWORD not in running.log.read_text()


def test_other_tools_see_the_same(plain: Running, tmp_path: Path) -> None:
    """Nobody but we can read what we attach."""
    built = layout(tmp_path)
    with Registry(plain.reference(), plain.access) as client:
        reference = push(built, client, plain.reference(tag="v1")).reference
        made = client.attach(built.image, BUNDLE, [(BUNDLE, b"one", {})], NOTES)
    tree = run("oras", "discover", "--plain-http", "--format", "json", str(reference))
    entries: list[dict[str, Any]] = json.loads(tree)["referrers"]
    assert [entry["digest"] for entry in entries] == [made.digest]
    shown = run("crane", "manifest", "--insecure", str(reference.at(made.digest)))
    assert json.loads(shown)["subject"]["digest"] == built.image.digest
    assert json.loads(shown)["artifactType"] == BUNDLE
    seen = run("skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{reference}")
    assert seen.encode() == built.manifest.content


@pytest.mark.parametrize(
    ("kind", "change", "error", "line"),
    [
        (
            "self-signed, user and secret",
            {"password": "wrong-secret"},
            RegistryRefused,
            "answered 401 Unauthorized: UNAUTHORIZED: authentication required; the user is 'robot'",
        ),
        (
            "self-signed",
            {"ca_file": None},
            RegistryUnreachable,
            "its certificate isn't trusted (self-signed certificate); "
            "registry.ca_file names a file of certificates to trust",
        ),
        (
            "self-signed",
            {"plain_http": True},
            RegistryUnreachable,
            "answered 400 Bad Request: Client sent an HTTP request to an HTTPS server.; "
            "where it speaks TLS, registry.plain_http is to be false",
        ),
        (
            "plain HTTP",
            {"plain_http": False},
            RegistryUnreachable,
            "it speaks plain HTTP, which registry.plain_http = true allows",
        ),
    ],
    ids=["wrong secret", "untrusted", "plain HTTP to TLS", "TLS to plain HTTP"],
)
def test_what_a_setting_would_mend_is_said(
    tmp_path: Path, kind: str, change: dict[str, Any], error: type[Exception], line: str
) -> None:
    """A real registry's refusal isn't understood, and nobody learns which setting mends it."""
    with KINDS[kind](tmp_path) as running:
        access = replace(running.access, **change)
        with Registry(running.reference(), access) as client, pytest.raises(error) as caught:
            client.manifest("v1")
    assert str(caught.value) == f"{running.address}/team/image:v1: read manifest: {line}"


def test_a_registry_that_goes_away(tmp_path: Path) -> None:
    """A registry that ends during a release is a crash."""
    with KINDS["plain HTTP"](tmp_path) as running:
        client = Registry(running.reference(), running.access)
        client.tags()
    with client, pytest.raises(RegistryUnreachable, match=r"connection refused \(3 attempts\)"):
        client.tags()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of 4 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    argv = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    known = shutil.which("mount") is not None
    if not known or subprocess.run(argv, capture_output=True, timeout=60, check=False).returncode:
        pytest.skip("nothing may be mounted here, and a full disk needs a small one")
    yield folder
    subprocess.run(["umount", str(folder)], check=True, timeout=60)


@pytest.mark.parametrize("size", [5_000_000, 60_000_000])
def test_a_disk_that_is_full(tmp_path: Path, small_disk: Path, size: int) -> None:
    """A real registry's full disk looks like a passing fault, and is sent the layer again."""
    content = os.urandom(size)
    blob = Descriptor.of("text/plain", content)
    with (
        docker_registry(tmp_path, storage=small_disk) as running,
        Registry(running.reference(), running.access) as client,
        pytest.raises(RegistryFull, match="upload blob: no space is left there; answered 500"),
    ):
        client.put_blob(blob, partial(BytesIO, content))
    assert running.log.read_text().count('"POST /v2/') == 1
