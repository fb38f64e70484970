"""A server as a child process of this host, never left behind."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import anyio
import anyio.abc
import psutil

from ci.boot.belongings import MARK, Belongings, shared, title
from ci.boot.death import exited, fault_of_exit
from ci.boot.launch import Launch, is_sglang, launch_script
from ci.boot.log import LONGEST_LINE, ServerLog
from ci.boot.memory import Memory
from ci.boot.port import listens
from ci.concurrency import one_error, pipe
from ci.errors import SglangCiError
from ci.secrets.files import Flow
from ci.secrets.veil import MARGIN

_CHUNK = 65_536
_GUARD = "setpriv"
KILL_GRACE = 5.0
LAST_WORDS = 0.5
"""Most seconds that a dead server's output is waited for; what it left may hold the pipe."""


class _Lines:
    """Cuts output that arrives in pieces into lines of the log."""

    def __init__(self, log: ServerLog) -> None:
        self._log, self._rest = log, b""

    def add(self, chunk: bytes) -> None:
        *lines, rest = (self._rest + chunk).split(b"\n")
        self._rest = rest[: LONGEST_LINE + MARGIN]
        for line in lines:
            self._log.add(line.decode("utf-8", "replace").rstrip("\r"), anyio.current_time())

    def close(self) -> None:
        if self._rest:
            self.add(b"\n")


@dataclass(frozen=True)
class ProcessEnd:
    """How a server ended after it was asked to.

    Args:
        exit_code: Its exit code; negative for a signal.
        seconds: Time from SIGTERM until the last of its processes was gone.
        killed: Whether SIGKILL was needed.
        orphans: Command lines of processes that outlived their parent and had to be killed.
        left: Shared memory and semaphores that were left, and that are removed now.
    """

    exit_code: int
    seconds: float
    killed: bool
    orphans: tuple[str, ...]
    left: tuple[str, ...] = ()


class ServerProcess:
    """A running server; made by `running`."""

    def __init__(
        self, process: anyio.abc.Process, launch: Launch, belongings: Belongings, memory: Memory
    ) -> None:
        self.launch = launch
        self.log = ServerLog(anyio.current_time())
        self.belongings = belongings
        self._process, self._memory = process, memory
        self._drained = anyio.Event()

    @property
    def url(self) -> str:
        """The server's base URL."""
        return self.launch.url

    @property
    def pid(self) -> int:
        """Process id, also of its process group."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """Exit code, None while it runs."""
        return self._process.returncode

    def has_started(self) -> bool:
        """Return whether `launch.sh` has handed over to SGLang, or another engine was begun."""
        self._memory.look(self.pid)
        try:
            words = psutil.Process(self.pid).cmdline()
        except psutil.Error:
            return False
        if self.launch.argv:
            return bool(words) and Path(words[0]).name != _GUARD
        return is_sglang(words)

    def owns_port(self) -> bool:
        """Return whether the port is this server's own, and not a stranger's."""
        return listens(self.pid, self.launch.port)

    async def died(self, phase: str) -> SglangCiError:
        """Wait until the process ends by itself, and return why."""
        exit_code = await self._process.wait()
        with anyio.move_on_after(LAST_WORDS):
            await self._drained.wait()
        fault = exited if self.launch.argv else fault_of_exit
        return fault(exit_code, phase, self.log, self._memory.told())

    async def stop(self, grace: float) -> ProcessEnd:
        """End the server and all of its processes: SIGTERM, then after `grace` s SIGKILL."""
        self.belongings.look()
        begin = anyio.current_time()
        with anyio.move_on_after(grace):
            self._signal(signal.SIGTERM)
            await self._process.wait()
        killed = self._process.returncode is None
        orphans = [] if killed else await self._left_behind()
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        exit_code = await self._process.wait()
        if await self._left_behind():  # in other groups: who copies the output ends by itself
            self.belongings.kill()
            await self._left_behind()
        seconds = anyio.current_time() - begin
        left = tuple(self.belongings.remove())
        return ProcessEnd(exit_code, seconds, killed, tuple(orphans), left)

    async def collect(self, reader: int, target: Path | None) -> None:
        """Copy the output from a pipe to the log, and to the file `target` where one is given.

        The file shows no secret, and gets each line once it is whole.

        Where the file can't be written the log goes on: a full disk must not block the server.
        """
        lines, shown = _Lines(self.log), Flow()
        descriptor = os.open(target or os.devnull, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        try:
            while chunk := await _read(reader):
                lines.add(chunk)
                with suppress(OSError):
                    os.write(descriptor, shown.add(chunk))
        finally:
            with suppress(OSError):
                os.write(descriptor, shown.end())
            os.close(descriptor)
        lines.close()
        self._drained.set()

    async def _left_behind(self) -> list[str]:
        """Wait a moment for its processes to be gone; return who is still there."""
        for _ in range(round(KILL_GRACE / 0.1)):
            if not self.belongings.living():
                return []
            await anyio.sleep(0.1)
        return [title(process) for process in self.belongings.living()]

    def _signal(self, number: signal.Signals) -> None:
        if self._process.returncode is None:
            self._process.send_signal(number)


async def _read(reader: int) -> bytes:
    await anyio.wait_readable(reader)
    return os.read(reader, _CHUNK)


def command(launch: Launch) -> list[str]:
    """Return what a server is started by."""
    return list(launch.argv) or ["bash", str(launch_script()), *launch.flags]


def _guard() -> list[str]:
    """Return what binds the server to die with this process, where that can be."""
    return [_GUARD, "--pdeathsig", "TERM"] if shutil.which(_GUARD) else []


@asynccontextmanager
async def running(launch: Launch, output: Path | None = None) -> AsyncIterator[ServerProcess]:
    """Start a server, and end it and all of its processes with the context.

    Args:
        launch: What to start.
        output: File that gets the server's output as well.
    """
    before, mark, memory = shared(), secrets.token_hex(8), Memory()
    memory.look(os.getpid())
    with pipe() as (reader, writer):
        with anyio.CancelScope(shield=True):  # a process that has no owner yet must not be lost
            process = await anyio.open_process(
                [*_guard(), *command(launch)],
                env=launch.environ() | {MARK: mark},
                stdin=subprocess.DEVNULL,
                stdout=writer,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        writer.close()
        belongings = Belongings(process.pid, mark, before)
        server = ServerProcess(process, launch, belongings, memory)
        async with _collecting(server, reader.fileno(), output):
            yield server


@asynccontextmanager
async def _collecting(
    server: ServerProcess, reader: int, output: Path | None
) -> AsyncIterator[None]:
    """Collect the server's output for as long as the context lasts, and end the server with it."""
    with one_error():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server.collect, reader, output)
            try:
                yield
            finally:
                with anyio.CancelScope(shield=True):
                    await server.stop(KILL_GRACE)
                tasks.cancel_scope.cancel()
