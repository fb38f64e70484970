"""What `make` promises to whoever has just cloned the project."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.readme import ROOT, readme

pytestmark = pytest.mark.unit

FLAGS = ("--dry-run", "--no-print-directory")


def planned(*argv: str) -> str:
    """Return what a `make` command would run."""
    ran = subprocess.run([argv[0], *FLAGS, "-C", str(ROOT), *argv[1:]],
                         capture_output=True, text=True, check=True)  # fmt: skip
    return ran.stdout


def test_make_test_runs_every_tier() -> None:
    """The README's test command leaves a tier of tests out, or its lint."""
    steps = planned(*readme("make test"))
    for step in ("requirements/install.sh dev", "ruff check", "mypy", '"unit and', '"not unit and'):
        assert step in steps, step


def project(folder: Path, ending: int) -> Path:
    """Return a project whose `sglang-ci` ends with a code, and whose install does nothing."""
    shutil.copy(ROOT / "Makefile", folder)
    for name, text in {
        "requirements/install.sh": "#!/bin/sh\n",
        ".venv/bin/sglang-ci": f"#!/bin/sh\necho asked: $*\nexit {ending}\n",
        ".venv/bin/activate": f'PATH="{folder}/.venv/bin:$PATH"\n',
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return folder


@pytest.mark.parametrize("ending", [0, 1, 4])
def test_make_ci_leaves_a_command(tmp_path: Path, ending: int) -> None:
    """After `make ci` a user doesn't know where `sglang-ci` is, or a failure goes unseen."""
    folder = project(tmp_path, ending)
    ran = subprocess.run(
        [*readme("make ci"), "--silent"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert (ran.returncode != 0) == (ending != 0)
    assert ran.stdout.splitlines()[0] == "asked: ci"
    _, _, step = ran.stdout.splitlines()[1].partition(" after: ")
    assert step.split() == readme("source .venv/bin/activate")
    done = subprocess.run(
        ["bash", "-ec", f"{step} && sglang-ci versions"],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout == "asked: versions\n"
