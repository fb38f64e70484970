"""One pytest process: how it is started, what it may see, and how it and all it started end.

No configuration of the place where the check happens to run is read. The packaged suite sees
nothing else of its surroundings either: no plugin that happens to be installed, and no module
that lies where PYTHONPATH points.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import IO

import anyio
from anyio.abc import Process

from ci import SGLANG
from ci.concurrency import one_error, pipe
from ci.secrets import files
from ci.secrets.veil import known
from ci.server.key import variables
from ci.smoke import SECRETS, SUITE, warden
from ci.smoke.options import SmokeOptions
from ci.smoke.parts import SuitePart

_CHUNK = 65536
_DRAIN = 2.0
"""Seconds for reading what is left in the pipe when pytest has ended."""
_FOREIGN = {"PYTEST_ADDOPTS", "PYTHONWARNINGS"}
_PLUGINS = {"PYTEST_PLUGINS"}


async def run_pytest(
    url: str,
    options: SmokeOptions,
    part: SuitePart,
    feed: Callable[[bytes], None],
    output: IO[bytes],
) -> int:
    """Run one part's cases to their end, and return pytest's exit code; negative for a signal.

    Args:
        url: The server.
        options: How cases run.
        part: Which cases run.
        feed: Takes each line of results as it comes.
        output: Gets what pytest prints.
    """
    with pipe() as (reader, writer):
        argv = command(url, options, part, f"/dev/fd/{writer.fileno()}")
        environ = environment(part) | variables(url) | {SECRETS: json.dumps(known())}
        async with _group(argv, environ, output, writer) as process:
            writer.close()
            with one_error():
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(_listen, reader, feed)
                    code = await process.wait()
                    tasks.cancel_scope.deadline = anyio.current_time() + _DRAIN
    return code


def command(url: str, options: SmokeOptions, part: SuitePart, results: str) -> list[str]:
    """Return the command that runs a part's cases."""
    alone = ("-E", "-B") if part.packaged else ()
    tree = _source_tree() if part.packaged else ""
    return [
        *(sys.executable, "-P", *alone, warden.__file__, tree, results),
        *("-c", os.devnull, f"--rootdir={part.folder}", f"--confcutdir={SUITE}", "--tb=short"),
        *("-p", "ci.smoke.plugin", "-p", "no:cacheprovider", "--continue-on-collection-errors"),
        *(() if part.packaged else ("-p", "anyio")),
        *(f"--sglang-url={url}", f"--sglang-timeout={options.timeout:g}"),
        *(f"--sglang-results={results}", "--sglang-progress"),
        *([f"--sglang-engine={options.engine}"] if options.engine != SGLANG else []),
        *([f"-k{options.select}"] if options.select else []),
        *map(str, part.paths),
    ]


def environment(part: SuitePart) -> dict[str, str]:
    """Return the environment of a part's pytest: this package is found, nothing is written."""
    left_out = _FOREIGN | _PLUGINS if part.packaged else _FOREIGN
    kept = {key: value for key, value in os.environ.items() if key not in left_out}
    if part.packaged:
        return {**kept, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    path = [entry for entry in (_source_tree(), kept.get("PYTHONPATH", "")) if entry]
    return {**kept, "PYTHONPATH": os.pathsep.join(path), "PYTHONDONTWRITEBYTECODE": "1"}


def _source_tree() -> str:
    """Return where this package lies; empty where it is installed and found anyway."""
    here = SUITE.parents[2]
    return "" if here.name in {"site-packages", "dist-packages"} else str(here)


@asynccontextmanager
async def _group(
    argv: list[str], environ: dict[str, str], output: IO[bytes], writer: IO[bytes]
) -> AsyncIterator[Process]:
    """Start a process in a group of its own, and end it with all that descends from it."""
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
        with anyio.CancelScope(shield=True):
            with anyio.move_on_after(warden.LIMIT + 1):
                _signal(process, signal.SIGTERM)
                await process.wait()
            _signal(process, signal.SIGKILL)
            await process.wait()


def _signal(process: Process, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


async def _listen(reader: IO[bytes], feed: Callable[[bytes], None]) -> None:
    """Feed the lines that come over the pipe, until its writers are gone."""
    rest = b""
    while True:
        await anyio.wait_readable(reader)
        chunk = os.read(reader.fileno(), _CHUNK)
        if not chunk:
            return
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            feed(line)


def text_of(output: IO[bytes]) -> str:
    """Return the end of what pytest printed."""
    return files.end_of(output, _CHUNK).decode("utf-8", "replace")
