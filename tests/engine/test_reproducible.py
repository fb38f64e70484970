"""Layers that are the same wherever they are built; benchmarks/reproducible.py does all of it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from ci.image.bases import bases
from tests.engine.conftest import ROOT, Dagger, said

pytestmark = pytest.mark.engine

EPOCH = "1580601600"
LISTING = ("find", "/layer", "-printf", r"%P %m %U:%G %T@\n")


@pytest.fixture
def context(tmp_path: Path) -> Path:
    """What the small stages need, with times and modes of another checkout."""
    for name in ("Dockerfile", "launch.sh", "requirements", "ci/platform/tiny"):
        source, copy = ROOT / name, tmp_path / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, copy, copy_function=shutil.copyfile)
        else:
            shutil.copyfile(source, copy)
    for script in (tmp_path / "requirements").glob("*.sh"):
        script.chmod(0o775)
    for file in (tmp_path / "ci/platform/tiny").iterdir():
        file.chmod(0o664)
        os.utime(file, (1, 1))
    return tmp_path


def test_a_layer_knows_nothing_of_its_checkout(dagger: Dagger, context: Path) -> None:
    """A layer's digest depends on when, where or with which umask the sources were fetched.

    The base image is given by the digest that its tag has here, as `make pins` writes it.
    """
    image = bases((ROOT / "Dockerfile").read_text())["PYTHON_IMAGE"]
    resolved = dagger("core", "container", "from", f"--address={image}", "image-ref").stdout.strip()
    assert "@sha256:" in resolved
    listing = [f"--args={argument}" for argument in LISTING]
    for stage, path in (("model", "model/config.json"), ("launcher", "usr/local/bin/launch.sh")):
        build = ("host", "directory", f"--path={context}", "docker-build", f"--target={stage}")
        argument = f"--build-args=PYTHON_IMAGE={resolved}"
        ran = dagger("core", *build, argument, "with-exec", *listing, "stdout")
        found = {line.split()[0]: line.split()[1:] for line in ran.stdout.splitlines()[1:]}
        assert path in found, said(ran)
        assert {times[2] for times in found.values()} == {f"{EPOCH}.0000000000"}
        assert found[path][:2] == ["755" if stage == "launcher" else "644", "0:0"]
