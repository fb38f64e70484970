"""Runs the slowing proxy in a process of its own, so that it doesn't delay the load client."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import anyio
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

from ci.errors import CheckBroken
from ci.gate import slow_proxy
from ci.server.key import key_of, wanted_at

STARTING, ENDING = 20.0, 5.0
"""Most seconds until the process listens, and until it has ended."""

_LONGEST_URL = 1000


@asynccontextmanager
async def slowed(upstream: str, share: float) -> AsyncIterator[str]:
    """Yield the URL of a server that is `upstream`, slower by `share`.

    Raises:
        CheckBroken: The proxy's process doesn't start, or doesn't listen in time.
    """
    argv = (sys.executable, "-I", slow_proxy.__file__, upstream, repr(share))
    try:
        process = await anyio.open_process(argv, stderr=None)
    except OSError as error:
        raise CheckBroken(f"the slowing proxy doesn't start: {error}") from error
    try:
        url = await _url(process)
        with wanted_at(url, key_of(upstream)):
            yield url
    finally:
        with anyio.CancelScope(shield=True):
            await _end(process)


async def _url(process: Process) -> str:
    """Return the URL that the proxy prints once it listens."""
    told = b""
    if process.stdout:
        with suppress(TimeoutError, anyio.EndOfStream, anyio.IncompleteRead):
            with anyio.fail_after(STARTING):
                told = await BufferedByteReceiveStream(process.stdout).receive_until(
                    b"\n", _LONGEST_URL
                )
    if not told:
        raise CheckBroken(f"the slowing proxy ended, or did not listen within {STARTING:g} s")
    return told.decode()


async def _end(process: Process) -> None:
    """End the proxy's process, by force where it doesn't end by itself."""
    if process.stdin:
        await process.stdin.aclose()
    with anyio.move_on_after(ENDING):
        await process.wait()
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.kill()
    await process.aclose()
