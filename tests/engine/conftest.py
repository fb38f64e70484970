"""A real Dagger engine, or the reason why there is none."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HANG = 900.0

Dagger = Callable[..., "subprocess.CompletedProcess[str]"]


@functools.cache
def missing() -> str:
    """Return why no engine can be reached; empty where one answers."""
    program = shutil.which("dagger")
    if program is None:
        return "the dagger command is not installed"
    asked = subprocess.run(
        [program, "core", "version"], capture_output=True, text=True, timeout=60, check=False
    )
    last = (asked.stderr.strip().splitlines() or ["no output"])[-1]
    return "" if asked.returncode == 0 else f"no Dagger engine answers: {last}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip this tier, with the reason, where no engine can be reached."""
    here = [item for item in items if item.path.is_relative_to(Path(__file__).parent)]
    if here and (reason := missing()):
        for item in here:
            item.add_marker(pytest.mark.skip(reason=reason))


def run_dagger(
    verb: str, *arguments: str, folder: Path = ROOT, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run `dagger VERB …` on the module in `folder`."""
    return subprocess.run(
        ["dagger", "--progress=plain", verb, *arguments],
        cwd=folder,
        env=os.environ | {"NO_COLOR": "1"},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=HANG,
        check=False,
    )


@pytest.fixture(scope="session")
def dagger() -> Dagger:
    """Return `run_dagger`, for this project's own module."""
    return run_dagger


def said(ran: subprocess.CompletedProcess[str]) -> str:
    """Return the end of everything that a run printed."""
    return (ran.stdout + ran.stderr)[-8000:]


def copy_project(folder: Path) -> None:
    """Copy what git knows or would know of this project."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
