"""Shell scripts in the place of `launch.sh`, for tests of the server's process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import anyio

from ci.boot.launch import Launch
from ci.boot.process import ServerProcess, running
from ci.errors import (
    SglangCiError,
)

HANG = 30.0
"""Most seconds before anything here counts as hung."""

Fake = Callable[[str], Launch]

STUBBORN = (
    "import signal, time, os\n"
    "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "print('here', os.getpid(), flush=True)\n"
    "time.sleep(300)\n"
)


async def ended(launch: Launch, output: Path | None = None) -> tuple[SglangCiError, ServerProcess]:
    """Run a server until it ends by itself, and return why it did."""
    with anyio.fail_after(HANG):
        async with running(launch, output) as server:
            return await server.died("starting"), server


async def said(server: ServerProcess, word: str) -> None:
    """Wait until the server has said `word`."""
    with anyio.fail_after(HANG):
        while word not in server.log.tail():
            await anyio.sleep(0.01)
