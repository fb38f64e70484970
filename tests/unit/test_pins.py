"""Base images: named in one place, and held to digests by one command."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ci.errors import UsageError
from ci.image.bases import bases, qualified
from ci.registry.oci import INDEX
from ci.settings import Settings
from requirements import pins
from tests.fakes.registry import FakeRegistry, fake_registry

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
ONE, TWO = "sha256:" + "1" * 64, "sha256:" + "2" * 64
EXAMPLE = """\
ARG SGLANG_VERSION=0.5.1
ARG PYTHON_IMAGE=python:3.11-slim
ARG SGLANG_IMAGE=lmsysorg/sglang:v${SGLANG_VERSION}
FROM ${PYTHON_IMAGE} AS builder
"""


@pytest.fixture
def dockerfile(tmp_path: Path) -> Path:
    """A Dockerfile without digests."""
    file = tmp_path / "Dockerfile"
    file.write_text(EXAMPLE, encoding="utf-8")
    return file


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    """A registry that asks for nobody's name."""
    with fake_registry() as registry:
        yield registry


@pytest.fixture
def run(registry: FakeRegistry, dockerfile: Path) -> Callable[..., int]:
    """Run the command against a registry that has a tag of each image."""
    registry.put(INDEX, b'{"manifests": []}', "3.11-slim")
    registry.put(INDEX, b'{"manifests":[]}', "v0.5.1")
    ours = ["--mirror", registry.address, "--dockerfile", str(dockerfile)]
    return lambda *arguments: pins.main([*ours, *arguments])


def test_the_dockerfile_names_its_base_images_once() -> None:
    """A stage stands on an image that no pin holds."""
    assert set(bases(DOCKERFILE)) == {"PYTHON_IMAGE", "SGLANG_IMAGE"}
    stages = set(re.findall(r"^FROM \S+ AS (\S+)$", DOCKERFILE, re.MULTILINE))
    images = set(re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)) - stages
    assert images == {"${PYTHON_IMAGE}", "${SGLANG_IMAGE}"}


@pytest.mark.parametrize("folder", ["ci", "requirements"])
def test_nothing_else_names_a_base_image(folder: str) -> None:
    """The prober, or a script, stays behind when a pin is refreshed."""
    files = [path for path in (ROOT / folder).rglob("*") if path.suffix in {".py", ".sh", ".toml"}]
    assert files
    named = re.compile(r"\bpython:3|lmsysorg/sglang:")
    assert not [path for path in files if named.search(path.read_text(encoding="utf-8"))]


def test_the_dockerfiles_version_is_the_locked_one() -> None:
    """The image for GPUs serves another SGLang than the one for CPUs, or than the settings say."""
    version = Settings().image.sglang_version
    assert f"ARG SGLANG_VERSION={version}\n" in DOCKERFILE
    lock = (ROOT / "requirements/server.txt").read_text(encoding="utf-8")
    assert f"\nsglang=={version} " in lock
    assert bases(DOCKERFILE)["SGLANG_IMAGE"].startswith(f"lmsysorg/sglang:v{version}")


def test_digests_belong_to_one_version() -> None:
    """Another SGLang version is built on the image of the locked one."""
    text = pins.pinned(EXAMPLE, {"PYTHON_IMAGE": ONE, "SGLANG_IMAGE": TWO})
    assert bases(text) == bases(text, "0.5.1")
    assert bases(text) == {
        "PYTHON_IMAGE": f"python:3.11-slim@{ONE}",
        "SGLANG_IMAGE": f"lmsysorg/sglang:v0.5.1@{TWO}",
    }
    assert bases(text, "0.5.0") == {
        "PYTHON_IMAGE": f"python:3.11-slim@{ONE}",
        "SGLANG_IMAGE": "lmsysorg/sglang:v0.5.0",
    }


def test_a_pin_replaces_a_pin() -> None:
    """Digests pile up, or other lines change."""
    once = pins.pinned(EXAMPLE, {"SGLANG_IMAGE": ONE})
    assert once == EXAMPLE.replace("${SGLANG_VERSION}\n", f"${{SGLANG_VERSION}}@{ONE}\n")
    assert pins.pinned(pins.pinned(EXAMPLE, {"SGLANG_IMAGE": TWO}), {"SGLANG_IMAGE": ONE}) == once


@pytest.mark.parametrize(
    ("image", "reference"),
    [
        ("python:3.11-slim", "docker.io/library/python:3.11-slim"),
        ("lmsysorg/sglang:v1", "docker.io/lmsysorg/sglang:v1"),
        ("localhost/python:3", "localhost/python:3"),
        ("host:5000/python:3", "host:5000/python:3"),
        ("quay.io/a/python:3", "quay.io/a/python:3"),
        (f"python:3@{ONE}", f"docker.io/library/python:3@{ONE}"),
    ],
)
def test_names_are_read_as_docker_reads_them(image: str, reference: str) -> None:
    """The digest of another registry's image is written."""
    assert str(qualified(image)) == reference


def test_no_name_of_an_image() -> None:
    """Nonsense is asked for."""
    with pytest.raises(UsageError):
        qualified("Python:3")


def test_pins_are_written(
    run: Callable[..., int], dockerfile: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`make pins` leaves images by tag alone, or doesn't notice what moved."""
    assert run("--check") == 1
    assert dockerfile.read_text(encoding="utf-8") == EXAMPLE
    assert run() == 0
    found = bases(dockerfile.read_text(encoding="utf-8"))
    assert all(re.search("@sha256:[0-9a-f]{64}$", image) for image in found.values())
    capsys.readouterr()
    assert run("--check") == 0
    assert capsys.readouterr().out.splitlines() == list(found.values())


def test_one_pin_alone(run: Callable[..., int], dockerfile: Path) -> None:
    """An image that is out of reach keeps the others from being pinned."""
    assert run("PYTHON_IMAGE") == 0
    found = bases(dockerfile.read_text(encoding="utf-8"))
    assert "@" in found["PYTHON_IMAGE"]
    assert "@" not in found["SGLANG_IMAGE"]


def test_a_moved_tag_is_noticed(
    run: Callable[..., int], registry: FakeRegistry, capsys: pytest.CaptureFixture[str]
) -> None:
    """A nightly run says that pins are fresh while the tag has moved."""
    assert run() == 0
    registry.put(INDEX, b'{"manifests": [], "newer": 1}', "3.11-slim")
    capsys.readouterr()
    assert run("--check") == 1
    first, second = capsys.readouterr().out.splitlines()
    assert first.endswith("(not pinned to this)")
    assert not second.endswith(")")


def test_what_is_missing_is_said_in_one_line(
    run: Callable[..., int],
    registry: FakeRegistry,
    dockerfile: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A traceback is all that says which image has no such tag, or half of the pins are new."""
    registry.tags.pop("v0.5.1")
    assert run() == 4
    said = "pins: docker.io/lmsysorg/sglang:v0.5.1: resolve: there is no such tag\n"
    assert capsys.readouterr().err == said
    assert dockerfile.read_text(encoding="utf-8") == EXAMPLE


def test_an_unknown_argument_is_refused(
    run: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    """A typing error pins nothing, and nobody notices."""
    with pytest.raises(SystemExit) as ended:
        run("PYTHON_IMGE")
    assert ended.value.code == 2
    assert "no base image in the Dockerfile: PYTHON_IMGE" in capsys.readouterr().err
