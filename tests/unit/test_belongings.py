"""What a server leaves behind: it is named, removed, and never somebody else's."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import anyio
import psutil
import pytest

from ci.boot import belongings as things
from ci.boot import process as processes
from ci.boot.belongings import SHARED, shared
from ci.boot.launch import Launch
from ci.boot.process import running
from ci.boot.shutdown import check_shutdown
from ci.report.model import Case, Check
from ci.stages import checked
from ci.verdict import Outcome, Verdict
from tests.unit.launching import program
from tests.unit.shells import HANG, Fake, said

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

NAME = f"sglang_ci_test_{os.getpid()}"
SERVER = f"""
import mmap, os, signal, subprocess, sys, time
def segment(name):
    file = os.open("/dev/shm/" + name, os.O_CREAT | os.O_RDWR)
    os.ftruncate(file, 4096)
    return mmap.mmap(file, 4096)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
kept = segment("{NAME}_mapped"), segment("sem.{NAME}")
segment(f"{NAME}_{{os.getpid()}}_closed").close()
segment("{NAME}_tidy")
os.unlink("/dev/shm/{NAME}_tidy")
print("here", flush=True)
while True: time.sleep(0.05)
"""
"""Leaves a segment that it holds, a semaphore, and one that only its name shows to be its own."""


@pytest.fixture(autouse=True)
def _tidy() -> Iterator[None]:
    """Leave nothing in this host's shared memory."""
    yield
    for path in SHARED.glob(f"*{NAME}*"):
        path.unlink()


@pytest.fixture
def server(shell: Fake, tmp_path: Path) -> Launch:
    """A server that leaves shared memory behind."""
    (tmp_path / "server.py").write_text(SERVER)
    return shell('exec "$PYTHON" "$FAKE/server.py"')


async def ended(launch: Launch, *leaves: str) -> tuple[Check, dict[str, Case]]:
    """Start a server, and return how its end was judged."""
    async with running(launch) as server:
        await said(server, "here")
        ask = partial(check_shutdown, server, HANG, leaves=leaves)
        check = await checked("shutdown", ask)
    return check, {case.name: case for case in check.cases}


async def test_shared_memory_that_is_left_is_named_and_removed(server: Launch) -> None:
    """A host's memory fills up, server by server, and no check names who did it."""
    (SHARED / f"{NAME}_of_before").touch()
    check, cases = await ended(server)
    assert check.verdict is Verdict.FAILED
    told = cases["leaves no shared memory"].message
    assert told.startswith("it left, in /dev/shm: sem.")
    assert {f"{NAME}_mapped", f"sem.{NAME}"} < set(
        told.removesuffix("_closed").split(": ")[-1].split(", ")
    )
    assert "_closed" in told
    assert sorted(path.name for path in SHARED.glob(f"*{NAME}*")) == [f"{NAME}_of_before"]


async def test_what_every_good_server_leaves_is_no_fault(server: Launch) -> None:
    """An unmodified SGLang, which leaves its load file, is called bad."""
    check, cases = await ended(server, f"{NAME}_*", f"sem.{NAME}")
    assert check.verdict is Verdict.PASSED
    case = cases["leaves no shared memory"]
    assert case.message.startswith("but for what this engine always leaves, removed now: sem.")
    assert not list(SHARED.glob(f"*{NAME}*"))


async def test_what_another_program_holds_or_makes_is_not_touched(server: Launch) -> None:
    """Shared memory of another program that runs at the same time is blamed on the server."""
    holds = f"import mmap, os, sys; f = open('/dev/shm/{NAME}_mapped', 'r+b'); print(flush=True)"
    async with running(server) as one:
        await said(one, "here")
        (SHARED / f"{NAME}_made_meanwhile").touch()
        async with await anyio.open_process(
            [sys.executable, "-c", f"{holds}; sys.stdin.read()"]
        ) as other:
            assert other.stdout is not None
            await other.stdout.receive()
            stopped = await one.stop(HANG)
            assert f"{NAME}_mapped" not in stopped.left
            assert (SHARED / f"{NAME}_mapped").exists()
            other.kill()
    assert (SHARED / f"{NAME}_made_meanwhile").exists()


async def test_a_server_that_is_killed_leaves_nothing_either(server: Launch) -> None:
    """Each server that a check kills leaves its segments on the host."""
    async with running(server) as one:
        await said(one, "here")
        one.belongings.look()
        os.killpg(one.pid, signal.SIGKILL)
        await one.died("serving")
    assert not list(SHARED.glob(f"*{NAME}*"))


DAEMON = (
    "import os, subprocess, sys\n"
    "one = subprocess.Popen([sys.executable, os.environ['FAKE'] + '/stubborn.py'], {how})\n"
)


@pytest.mark.parametrize("how", ["start_new_session=True", "start_new_session=True, env={}"])
async def test_who_left_the_process_group_is_named_and_ended(
    shell: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """A helper in a session of its own outlives the server, and nobody is told."""
    monkeypatch.setattr(processes, "KILL_GRACE", 0.3)
    (tmp_path / "daemon.py").write_text(DAEMON.format(how=how) + "one.wait()\n")
    script = '"$PYTHON" "$FAKE/daemon.py" & trap "exit 0" TERM; while :; do sleep 0.05; done'
    _, cases = await ended(shell(script))
    assert "stubborn.py" in cases["leaves no process"].message
    living = [one.cmdline() for one in psutil.process_iter() if things.lives(one)]
    assert not [words for words in living if f"{tmp_path}/stubborn.py" in words]


@pytest.mark.parametrize(("answer", "outcome"), [("", Outcome.PASSED), ("held", Outcome.FAILED)])
async def test_gpu_memory_that_is_still_held(
    server: Launch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, outcome: Outcome
) -> None:
    """A server's memory stays on the GPU, and the next one has no room."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    async with running(server) as one:
        await said(one, "here")
        rows = f"{one.pid}, 512 MiB" if answer else ""
        program(tmp_path / "bin/nvidia-smi", f"printf '1, 7 MiB\\n{rows}\\n'")
        check = await checked("shutdown", partial(check_shutdown, one, HANG))
    case = next(case for case in check.cases if case.name == "leaves no GPU memory")
    assert case.outcome is outcome
    assert case.message == (f"still held: pid {one.pid}: 512 MiB" if answer else "")


def test_a_host_without_shared_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where there is no /dev/shm no server can be started."""
    monkeypatch.setattr(things, "SHARED", tmp_path / "none")
    assert shared() == frozenset()
