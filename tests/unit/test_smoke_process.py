"""The runner's process: it ends with all it started, and its surroundings change nothing."""

from __future__ import annotations

import os
from pathlib import Path

import anyio
import psutil
import pytest

from ci.smoke.run import SmokeOptions, environment, run_smoke
from ci.verdict import Outcome
from tests.unit.smoke_runs import HANG_LIMIT, NOWHERE, outcomes, own

pytestmark = pytest.mark.unit


def test_spent_budget_is_an_error(tmp_path: Path) -> None:
    """A case that never ends costs the budget and no more."""
    check = own(tmp_path, "import time\ndef test_slow(): time.sleep(600)\n", budget=1.0)
    assert outcomes(check) == {"suite": Outcome.ERROR}
    assert check.cause.startswith("suite: smoke.budget, 1 s, was spent")


STRAY = """
import pathlib, subprocess, sys, time
def test_stray():
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    pathlib.Path({file!r}).write_text(str(child.pid))
    time.sleep({seconds})
"""


def test_no_process_is_left(tmp_path: Path) -> None:
    """Processes that a case leaves behind end with the run."""
    told = tmp_path / "pid"
    own(tmp_path, STRAY.format(file=str(told), seconds=0))
    assert gone(int(told.read_text()))


def test_cancelled_run_leaves_no_process(tmp_path: Path) -> None:
    """Ctrl-C in the middle of a case ends pytest and what it started."""
    told = tmp_path / "pid"
    text = STRAY.format(file=str(told), seconds=600)
    (tmp_path / "test_mine.py").write_text(text)

    async def cancelled() -> None:
        options = SmokeOptions(directories=(tmp_path,), builtin=False)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run_smoke, NOWHERE, options)
            with anyio.fail_after(HANG_LIMIT):
                while not (told.exists() and told.read_text()):
                    await anyio.sleep(0.05)
            tasks.cancel_scope.cancel()

    anyio.run(cancelled)
    assert gone(int(told.read_text()))


def gone(pid: int) -> bool:
    """Return whether a process ends within a few seconds; one that is dead counts as gone."""
    try:
        process = psutil.Process(pid)
        process.wait(timeout=10)
    except psutil.NoSuchProcess:
        return True
    except psutil.TimeoutExpired:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    return True


def test_surroundings_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The place where the check runs changes nothing: no pytest.ini, conftest, or package `ci`."""
    place = tmp_path / "place"
    (place / "ci").mkdir(parents=True)
    (place / "pytest.ini").write_text("[pytest]\naddopts = --no-such-option\n")
    (place / "conftest.py").write_text("raise RuntimeError('the wrong conftest')\n")
    (place / "ci" / "__init__.py").write_text("raise RuntimeError('the wrong package')\n")
    monkeypatch.chdir(place)
    monkeypatch.setenv("PYTEST_ADDOPTS", "--no-such-option")
    monkeypatch.setenv("PYTHONWARNINGS", "error")
    check = own(tmp_path / "cases", "import warnings\ndef test_it(): warnings.warn('never mind')\n")
    assert outcomes(check) == {"test_mine.py::test_it": Outcome.PASSED}


def test_readonly_folder_stays_as_it_is(tmp_path: Path) -> None:
    """Running cases writes nothing beside them; else a read-only folder would not do."""
    folder = tmp_path / "cases"
    own(folder, "def test_it(): pass\n")
    assert [path.name for path in folder.iterdir()] == ["test_mine.py"]


def test_environment_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cases see the user's own variables, and this package wherever it lies."""
    monkeypatch.setenv("MINE", "kept")
    monkeypatch.setenv("PYTHONPATH", "mine")
    found = environment()
    assert found["MINE"] == "kept"
    assert found["PYTHONPATH"].split(os.pathsep)[1:] == ["mine"]
