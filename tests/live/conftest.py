"""One real SGLang on the CPU for the whole tier, and runs of the command beside it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from anyio.from_thread import start_blocking_portal

from ci.boot.port import members
from ci.boot.process import ServerProcess
from ci.boot.serving import served
from ci.report.model import Report
from ci.report.write import load
from ci.settings import ReadinessSettings, Settings
from ci.stages import checked
from tests.live.quiet import Quiet

HANG = 300.0
"""Most seconds that anything here may take before it counts as hung."""


@pytest.fixture(scope="session")
def live_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A ready server of the packaged tiny model; `.url` is its base URL."""
    log = tmp_path_factory.mktemp("live") / "server.log"
    with start_blocking_portal() as portal:
        serving = served(Settings(), log)
        with portal.wrap_async_context_manager(serving) as server:
            check = portal.call(_ready, server)
            assert check == "", f"{check}\n{log.read_text()[-4000:]}"
            yield server


async def _ready(server: ServerProcess) -> str:
    from ci.boot.readiness import Readiness

    way = Readiness(server.url, ReadinessSettings(), Quiet(), server, server.log)
    return (await checked("readiness", way.wait)).cause


@dataclass
class CommandRun:
    """A `sglang-ci` command that runs, or has run, in a process of its own."""

    process: subprocess.Popen[str]
    folder: Path

    def wait(self) -> int:
        """Return the exit code."""
        return self.process.wait(HANG)

    def output(self) -> str:
        """Return what it printed so far."""
        return (self.folder / "output.txt").read_text()

    def report(self) -> Report:
        """Return the report that it left."""
        return load(self.folder / "report")

    def until(self, text: str) -> None:
        """Wait until its output holds `text`."""
        deadline = time.monotonic() + HANG
        while text not in self.output():
            assert self.process.poll() is None, self.output()
            assert time.monotonic() < deadline, f"no {text!r} in {self.output()}"
            time.sleep(0.05)

    def servers(self) -> list[psutil.Process]:
        """Return the processes of the server, its oldest child and what that started."""
        oldest = min(psutil.Process(self.process.pid).children(), key=psutil.Process.create_time)
        return [oldest, *(member for member in members(oldest.pid) if member != oldest)]

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the command alone."""
        self.process.send_signal(number)


Command = Callable[..., CommandRun]


@pytest.fixture
def command(tmp_path: Path) -> Iterator[Command]:
    """Start `sglang-ci` commands; whatever still runs at the end is killed."""
    started: list[CommandRun] = []

    def start(*arguments: str) -> CommandRun:
        folder = tmp_path / f"run-{len(started)}"
        folder.mkdir()
        with (folder / "output.txt").open("w") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "ci", *arguments, "--report-dir", str(folder / "report")],
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                cwd=folder,
                env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
                text=True,
            )
        started.append(CommandRun(process, folder))
        return started[-1]

    yield start
    for run in started:
        if run.process.poll() is None:
            run.process.kill()
            run.process.wait()


@contextmanager
def gone_afterwards(run: CommandRun) -> Iterator[list[psutil.Process]]:
    """Yield the run's server processes, and hold that none of them lives at the end."""
    processes = run.servers()
    assert processes, "there is no server to lose"
    yield processes
    alive = [process for process in processes if process.is_running()]
    alive = [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]
    assert not alive, f"left behind: {[process.cmdline() for process in alive]}"
