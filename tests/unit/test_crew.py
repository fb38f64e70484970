"""Several HTTP workers of one server: none takes it apart before all have drained."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ci.platform.crew import Crew, supervise

pytestmark = pytest.mark.unit


@pytest.fixture
def path() -> str:
    """A file in memory that several open by its name."""
    return f"/proc/{os.getpid()}/fd/{os.memfd_create('crew')}"


def test_none_leaves_before_all_have_drained(path: str) -> None:
    """The first worker that is done ends the scheduler under the streams of the others."""
    one, two, leader = Crew(path), Crew(path), Crew(path)
    one.join()
    two.join()
    one.leave(hangs=False)
    assert not one.is_empty()
    two.leave(hangs=False)
    assert one.is_empty()
    assert two.is_empty()
    assert leader.is_empty()
    assert not leader.hangs()


def test_a_worker_that_died_is_not_waited_for(path: str) -> None:
    """A killed worker keeps the others from ever leaving."""
    code = (
        "import sys\nfrom ci.platform.crew import Crew\none = Crew(sys.argv[1])\none.join()\n"
        "print('joined', flush=True)\nsys.stdin.read()"
    )
    crew = Crew(path)
    with subprocess.Popen(
        [sys.executable, "-c", code, path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    ) as worker:
        assert worker.stdout is not None
        worker.stdout.readline()
        assert not crew.is_empty()
        worker.kill()
    assert crew.is_empty()


def test_one_that_finds_the_scheduler_hung_tells_the_leader(path: str) -> None:
    """A hung scheduler is waited for as long as one that releases its GPU."""
    one, leader = Crew(path), Crew(path)
    one.join()
    one.leave(hangs=True)
    assert leader.hangs()


SUPERVISED = """
import os, sys
import uvicorn
from uvicorn.supervisors import Multiprocess
from ci.platform.crew import supervise

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        os.write(1, b"started\\n")  # whole, beside that of the other worker
        await receive()
        await send({"type": "lifespan.shutdown.complete"})

if __name__ == "__main__":
    def leave():
        print("left", flush=True)
        if sys.argv[1] == "broken":
            raise RuntimeError("broken")
    supervise(Multiprocess, leave)
    patient = {"timeout_worker_healthcheck": 600}  # a busy machine starts workers slowly
    uvicorn.run("supervised:app", port=0, workers=2, log_level="error", **patient)
    print("ended", flush=True)
"""


@pytest.mark.parametrize("leaving", ["well", "broken"])
def test_a_real_supervisor_passes_sigterm_on_and_leaves_last(tmp_path: Path, leaving: str) -> None:
    """Uvicorn's workers learn of SIGTERM late, or the scheduler is killed before it is done."""
    (tmp_path / "supervised.py").write_text(SUPERVISED)
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[2]}"}
    with subprocess.Popen(
        [sys.executable, str(tmp_path / "supervised.py"), leaving],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment,
    ) as server:
        assert server.stdout is not None
        told = [server.stdout.readline() for _ in range(2)]
        server.terminate()
        told += server.stdout.readlines()
        assert server.wait(60) == 0
    assert told == ["started\n", "started\n", "left\n", "ended\n"]


def test_sigterm_reaches_the_workers_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """For half a second after SIGTERM, and longer while a worker loads, new work is accepted."""

    class Process:
        def __init__(self, pid: int, *, alive: bool) -> None:
            self.pid, self.process, self._alive = pid, self, alive

        def is_alive(self) -> bool:
            """Whether it runs."""
            return self._alive

    class Supervisor:
        def __init__(self) -> None:
            self.processes = [Process(1001, alive=True), Process(1002, alive=False)]
            self.told: list[int] = []
            signal.signal(signal.SIGTERM, lambda number, _: self.told.append(number))

        def run(self) -> None:
            """Run until SIGTERM."""
            signal.raise_signal(signal.SIGTERM)

    sent: list[Any] = []
    monkeypatch.setattr(os, "kill", lambda *to: sent.append(to))
    own = signal.getsignal(signal.SIGTERM)
    try:
        supervise(Supervisor, lambda: sent.append("left"))
        supervisor = Supervisor()
        supervisor.run()
    finally:
        signal.signal(signal.SIGTERM, own)
    assert sent == [(1001, signal.SIGTERM), "left"]
    assert supervisor.told == [signal.SIGTERM]
