"""What makes the image's layers the same whenever and wherever they are built."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks.reproducible import OURS

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
_PARTS = re.split(r"^FROM (\S+) AS (\S+)$", DOCKERFILE, flags=re.MULTILINE)
STAGES = dict(zip(_PARTS[2::3], _PARTS[3::3], strict=True))
IMAGES = ("cpu", "gpu")


def steps(stage: str, verb: str) -> list[str]:
    """Return what stands after each `verb` of a stage."""
    return re.findall(rf"^{verb} (.*)$", STAGES[stage], re.MULTILINE)


@pytest.mark.parametrize("stage", IMAGES)
def test_an_image_is_copied_together(stage: str) -> None:
    """Its layers hold the time of their build, or what the engine put beside a command."""
    copied = steps(stage, "COPY")
    assert copied
    assert all(re.fullmatch(r"--from=\S+ /layer/ /", copy) for copy in copied)
    assert not steps(stage, "RUN") + steps(stage, "ADD")
    assert not [folder for folder in steps(stage, "WORKDIR") if folder != "/home/sglang"]


@pytest.mark.parametrize("stage", IMAGES)
def test_every_layer_was_laid_out(stage: str) -> None:
    """The times in a layer are those of its build."""
    for copy in steps(stage, "COPY"):
        prepared = STAGES[copy.split()[0].removeprefix("--from=")]
        last = re.findall(r"^RUN (.*)$", prepared, re.MULTILINE)[-1]
        assert re.search(r"requirements/(layer\.sh /\S+|account\.sh)$", last)


def test_the_benchmark_knows_the_layers() -> None:
    """Two builds are compared layer by layer, and the wrong ones are called ours."""
    copied = [copy.split()[0].removeprefix("--from=") for copy in steps("cpu", "COPY")]
    assert tuple(copied) == OURS


def test_everything_installed_is_locked() -> None:
    """What is installed depends on the day."""
    for stage in ("prober", "project"):
        assert "--require-hashes" in " ".join(steps(stage, "RUN"))
    for script in ("install.sh", "image.sh"):
        assert "--require-hashes" in (ROOT / "requirements" / script).read_text(encoding="utf-8")


@pytest.mark.parametrize("stage", ["uv", "environment", "project", "builder"])
def test_what_a_stage_takes_in_is_what_it_needs(stage: str) -> None:
    """A change of a lock of the developers' builds the whole environment anew."""
    taken = {path for copy in steps(stage, "COPY") for path in copy.split()[:-1]}
    assert taken
    assert "requirements" not in {path.rstrip("/") for path in taken}
    assert all((ROOT / path).exists() for path in taken)
