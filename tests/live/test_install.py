"""The command in another project's environment, from git as the README says it, without SGLang."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from ci.report.write import load
from ci.verdict import Verdict
from tests.engine.conftest import copy_project
from tests.fakes.sglang import FakeSglang
from tests.readme import HANG, ROOT, readme

pytestmark = pytest.mark.live

UV = ROOT / ".tools" / "bin" / "uv"
WHO = ("-c", "user.name=jo", "-c", "user.email=jo@example.org")


def ran(*argv: str | Path, folder: Path) -> str:
    """Run a command to its good end, and return what it printed."""
    done = subprocess.run(
        argv, cwd=folder, capture_output=True, text=True, timeout=HANG, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a fresh environment into which this project was installed from a git repository."""
    if not UV.exists():
        pytest.skip("no uv from `make`")
    repository, folder = tmp_path_factory.mktemp("origin"), tmp_path_factory.mktemp("project")
    copy_project(repository)
    ran("git", "init", "--quiet", folder=repository)
    ran("git", "add", "--all", folder=repository)
    ran("git", *WHO, "commit", "--quiet", "-m", "one", folder=repository)
    there = {"https://git.example/team/sglang-ci": repository.as_uri()}
    _, *arguments = readme("pip install", there)
    ran(UV, "venv", "--quiet", "venv", folder=folder)
    ran(UV, "pip", *arguments, "--quiet", "--python", "venv", folder=folder)
    return folder / "venv"


def test_server_is_proven_from_there(environment: Path, tmp_path: Path) -> None:
    """A user's own environment gets a command that can't start, or can't find its own files."""
    assert "smoke" in ran(environment / "bin" / "sglang-ci", "--help", folder=tmp_path)
    with FakeSglang() as server:
        ran(environment / "bin" / "sglang-ci", "smoke", server.url, folder=tmp_path)
    assert load(tmp_path / "report").verdict is Verdict.PASSED


def test_extras_came_along_without_sglang(environment: Path, tmp_path: Path) -> None:
    """The commands of the named extras don't work, or gigabytes come with them."""
    listed = ran(UV, "pip", "list", "--quiet", "--python", environment, folder=tmp_path)
    there = {line.split()[0] for line in listed.splitlines()}
    assert {"sglang-ci", "oras", "schemathesis"} <= there
    assert not {"sglang", "torch"} & there
    ran(environment / "bin" / "sglang-ci", "release", "key", "me", folder=tmp_path)
    assert (tmp_path / "me.pub").exists()


def test_message_names_the_repository(environment: Path, tmp_path: Path) -> None:
    """An extra that is missing there is said to be somewhere where it isn't."""
    code = "from ci.extras import install; print(install('trend'))"
    said = ran(environment / "bin" / "python", "-c", code, folder=tmp_path)
    assert "sglang-ci[trend] @ git+file://" in said
