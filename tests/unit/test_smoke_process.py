"""The runner's process: it ends with all it started, and its surroundings change nothing."""

from __future__ import annotations

import os
from pathlib import Path

import anyio
import psutil
import pytest

from ci.smoke.parts import parts
from ci.smoke.process import environment
from ci.smoke.run import SmokeOptions, run_smoke
from ci.verdict import Outcome
from tests.unit.smoke_runs import HANG_LIMIT, NOWHERE, outcomes, own

pytestmark = pytest.mark.unit


@pytest.mark.long
def test_spent_budget_is_an_error(tmp_path: Path) -> None:
    """A case that never ends costs the budget and no more."""
    check = own(tmp_path, "import time\ndef test_slow(): time.sleep(600)\n", budget=1.0)
    assert outcomes(check) == {"suite": Outcome.ERROR}
    assert check.cause.startswith("suite: smoke.budget, 1 s, was spent")


DETACHED = """
import os, pathlib, subprocess, sys, time
SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]

def test_stray():
    children = [
        subprocess.Popen(SLEEP, start_new_session=True),
        subprocess.Popen(SLEEP, start_new_session=True, env={{}}),
    ]
    if not os.fork():
        os.setsid()
        if os.fork():
            os._exit(0)
        daemon = subprocess.Popen(SLEEP)
        pathlib.Path({file!r} + ".daemon").write_text(f"{{os.getpid()}} {{daemon.pid}}")
        time.sleep(600)
    while not pathlib.Path({file!r} + ".daemon").exists():
        time.sleep(0.01)
    pids = [child.pid for child in children]
    pathlib.Path({file!r} + ".part").write_text(" ".join(map(str, pids)))
    os.rename({file!r} + ".part", {file!r})
    time.sleep({seconds})
"""


def told(file: Path) -> list[int]:
    """Return the ids of the processes that the case of `DETACHED` left behind."""
    daemon = file.with_name(file.name + ".daemon")
    return [int(pid) for pid in f"{file.read_text()} {daemon.read_text()}".split()]


def test_no_process_is_left(tmp_path: Path) -> None:
    """What a case started outlives the suite, in a session of its own or as a daemon."""
    file = tmp_path / "pids"
    check = own(tmp_path / "cases", DETACHED.format(file=str(file), seconds=0))
    pids = told(file)
    assert len(pids) == 4
    assert all(gone(pid) for pid in pids)
    assert check.facts["processes that cases left, ended"].count("time.sleep(600)") >= 3


def test_cancelled_run_leaves_no_process(tmp_path: Path) -> None:
    """Ctrl-C in the middle of a case leaves pytest, or what it started."""
    file = tmp_path / "pids"
    (tmp_path / "test_mine.py").write_text(DETACHED.format(file=str(file), seconds=600))

    async def cancelled() -> None:
        options = SmokeOptions(directories=(tmp_path,), builtin=False)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run_smoke, NOWHERE, options)
            with anyio.fail_after(HANG_LIMIT):
                while not file.exists():
                    await anyio.sleep(0.05)
            tasks.cancel_scope.cancel()

    anyio.run(cancelled)
    assert all(gone(pid) for pid in told(file))


@pytest.mark.parametrize(
    "killed", ["os.getppid()", "psutil.Process(os.getppid()).ppid()"], ids=["parent", "grandparent"]
)
@pytest.mark.long
def test_a_case_that_kills_what_watches_it_leaves_no_process(tmp_path: Path, killed: str) -> None:
    """SIGKILL to pytest's own parent lets what detached itself escape."""
    file = tmp_path / "pids"
    last = f"import psutil, signal\n    os.kill({killed}, signal.SIGKILL)\n    time.sleep(600)\n"
    text = DETACHED.format(file=str(file), seconds=0)
    check = own(tmp_path / "cases", f"{text}    {last}")
    pids = told(file)
    assert len(pids) == 4
    assert all(gone(pid) for pid in pids)
    assert outcomes(check) == {"suite": Outcome.ERROR}
    assert "SIG" in check.cause


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


@pytest.mark.long
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


@pytest.mark.long
def test_readonly_folder_stays_as_it_is(tmp_path: Path) -> None:
    """Running cases writes nothing beside them; else a read-only folder would not do."""
    folder = tmp_path / "cases"
    own(folder, "def test_it(): pass\n")
    assert [path.name for path in folder.iterdir()] == ["test_mine.py"]


def test_environment_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Cases see the user's own variables, and this package wherever it lies."""
    monkeypatch.setenv("MINE", "kept")
    monkeypatch.setenv("PYTHONPATH", "mine")
    (part,) = parts([tmp_path], builtin=False)
    found = environment(part)
    assert found["MINE"] == "kept"
    assert found["PYTHONPATH"].split(os.pathsep)[1:] == ["mine"]
