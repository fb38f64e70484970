"""Runs the smoke suite, and users' own cases, as one check.

pytest runs in a process group of its own: whatever a case does, the group is gone when the
check is. Cases arrive over a pipe as they end. No configuration of the place where the check
happens to run is read, and none of its packages shadows this one.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import anyio
from anyio.abc import Process

from ci.concurrency import one_error, pipe
from ci.server.key import variables
from ci.settings.engine import SGLANG
from ci.smoke import SUITE
from ci.smoke.tape import Tape, aftermath
from ci.stages import StageResult, Tell, untold

NAME = "smoke"
"""Name of the check."""

_CHUNK = 65536
_DRAIN = 2.0
"""Seconds for reading what is left in the pipe when pytest has ended."""


@dataclass(frozen=True)
class SmokeOptions:
    """What to run, and how long it may take.

    Attributes:
        directories: The user's own folders or files of cases.
        select: pytest's `-k` expression; empty for all cases.
        timeout: Most seconds that one request may take.
        budget: Most seconds of the whole check.
        builtin: Whether the suite of this package runs.
        engine: Name of the engine's profile.
    """

    directories: tuple[Path, ...] = ()
    select: str = ""
    timeout: float = 30.0
    budget: float = 600.0
    builtin: bool = True
    engine: str = SGLANG


async def run_smoke(url: str, options: SmokeOptions, tell: Tell = untold) -> StageResult:
    """Run smoke cases against the server at `url`; `tell` gets each as it ends.

    There is a case "suite", ERROR, where pytest ended otherwise than it should or spent
    the budget: results that are missing are never taken for passed ones.
    """
    tape = Tape(tell)
    code: int | None = None
    with tempfile.TemporaryFile() as output:
        with anyio.move_on_after(options.budget):
            code = await _pytest(url, options, tape, output)
        if problem := aftermath(tape, code, _text(output), options.budget):
            tape.add(problem)
    return StageResult(facts={"url": url, "cases collected": str(tape.collected)})


async def _pytest(url: str, options: SmokeOptions, tape: Tape, output: IO[bytes]) -> int:
    """Run pytest to its end and return its exit code; negative for a signal."""
    with pipe() as (reader, writer):
        argv = command(url, options, f"/dev/fd/{writer.fileno()}")
        environ = environment() | variables(url)
        async with _group(argv, environ, output, writer) as process:
            writer.close()
            with one_error():
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(_listen, reader, tape)
                    code = await process.wait()
                    _kill(process)
                    tasks.cancel_scope.deadline = anyio.current_time() + _DRAIN
    return code


def command(url: str, options: SmokeOptions, results: str) -> list[str]:
    """Return the command that runs pytest."""
    suite = (SUITE,) if options.builtin else ()
    return [
        *(sys.executable, "-P", "-m", "pytest", "-c", os.devnull),
        *(f"--rootdir={SUITE}", f"--confcutdir={SUITE}", "--tb=short"),
        *("-p", "ci.smoke.plugin", "-p", "no:cacheprovider", "--continue-on-collection-errors"),
        *(f"--sglang-url={url}", f"--sglang-timeout={options.timeout:g}"),
        *(f"--sglang-results={results}", "--sglang-progress"),
        *([f"--sglang-engine={options.engine}"] if options.engine != SGLANG else []),
        *([f"-k{options.select}"] if options.select else []),
        *(str(path.absolute()) for path in (*suite, *options.directories)),
    ]


def environment() -> dict[str, str]:
    """Return the environment of pytest: this package is found, nothing is written beside it."""
    kept = {
        key: value
        for key, value in os.environ.items()
        if key not in {"PYTEST_ADDOPTS", "PYTHONWARNINGS"}
    }
    path = [part for part in (_source_tree(), kept.get("PYTHONPATH", "")) if part]
    return {**kept, "PYTHONPATH": os.pathsep.join(path), "PYTHONDONTWRITEBYTECODE": "1"}


def _source_tree() -> str:
    """Return where this package lies; empty where it is installed and found anyway."""
    here = SUITE.parents[2]
    return "" if here.name in {"site-packages", "dist-packages"} else str(here)


@asynccontextmanager
async def _group(
    argv: list[str], environ: dict[str, str], output: IO[bytes], writer: IO[bytes]
) -> AsyncIterator[Process]:
    """Start a process in a group of its own, and end the whole group at the end."""
    process = await anyio.open_process(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        env=environ,
        start_new_session=True,
        pass_fds=(writer.fileno(),),
    )
    try:
        yield process
    finally:
        _kill(process)
        with anyio.CancelScope(shield=True):
            await process.wait()


def _kill(process: Process) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


async def _listen(reader: IO[bytes], tape: Tape) -> None:
    """Feed the lines that come over the pipe to the tape, until its writers are gone."""
    rest = b""
    while True:
        await anyio.wait_readable(reader)
        chunk = os.read(reader.fileno(), _CHUNK)
        if not chunk:
            return
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            tape.feed(line)


def _text(output: IO[bytes]) -> str:
    """Return the end of what pytest printed."""
    output.seek(max(0, output.seek(0, os.SEEK_END) - _CHUNK))
    return output.read().decode("utf-8", "replace")
