"""Raw servers behind the slowing proxy, one behaviour each, and a raw client before it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from ci.gate.slow_proxy import SlowProxy

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]


async def speaking(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer each line after 1 s, in four parts 0.25 s apart."""
    while await reader.readline():
        await asyncio.sleep(0.75)
        for part in (b"a", b"b", b"c", b"d"):
            await asyncio.sleep(0.25)
            writer.write(part)


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Never answer."""
    await reader.read()


async def cutting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer half and close after 1 s."""
    await reader.readline()
    await asyncio.sleep(1)
    writer.write(b"half")
    writer.close()
    await writer.wait_closed()


async def large(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer each line with a mebibyte, and tell how many bytes came."""
    received = len(await reader.readline())
    writer.write(str(received).encode() + b"\n" + b"x" * 2**20)
    writer.close()
    await writer.wait_closed()


@asynccontextmanager
async def through(behaviour: Behaviour, share: float) -> AsyncIterator[SlowProxy]:
    """Yield a proxy before a server that behaves so."""

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            await behaviour(reader, writer)
        writer.transport.abort()

    server = await asyncio.start_server(behave, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        async with SlowProxy(f"http://127.0.0.1:{port}", share) as proxy:
            yield proxy
    finally:
        server.close()
        await asyncio.sleep(0.1)


async def connect(url: str) -> Streams:
    """Return a connection to a URL."""
    host, _, port = url.removeprefix("http://").partition(":")
    return await asyncio.open_connection(host, int(port))
