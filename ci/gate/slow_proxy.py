"""A proxy that makes a server slower by a known share: the truth of the gate's self-test.

    python slow_proxy.py http://127.0.0.1:30000 0.1

It prints its own URL, and ends when its standard input does. Whatever the server answers u
seconds after the last byte of a request is passed on after (1 + share) * u seconds, so that
time to first token, time per token and the whole request are longer by exactly that share.
A share of 0 passes everything on at once, which is what the unslowed side goes through, so
that the cost of the proxy itself lies on both.

It knows no HTTP: a request is what a client sends, and the answer what comes back until it
sends again. That holds for HTTP/1.x without pipelining. It needs the standard
library only and runs in a process of its own (`ci.gate.slowed`), where nothing else
delays it, on a selector that can wait for less than a millisecond.
"""

from __future__ import annotations

import asyncio
import selectors
import ssl
import sys
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

MOST_CONNECTIONS = 400
"""Connections at a time; more are cut at once."""

CHUNK, CHUNKS = 16 * 1024, 1024
"""Most bytes read at once, and most chunks of one connection that wait; then reading stops."""

IDLE = 600.0
"""Seconds without a byte from either side after which a connection is closed."""


@dataclass
class _Exchange:
    """When the last byte of the request was passed on, and when anything moved at all."""

    asked: float
    moved: float


class SlowProxy:
    """Listens on this machine for as long as its context lasts.

    Args:
        upstream: Base URL of the server.
        share: By how much it is made slower: 0.1 is ten per cent.
    """

    def __init__(self, upstream: str, share: float) -> None:
        if not 0 <= share <= 10:  # noqa: PLR2004
            raise ValueError(f"a share of {share:g} is not between 0 and 10")
        self._at, self._stretch = urlsplit(upstream), 1 + share
        self._tls = ssl.create_default_context() if self._at.scheme == "https" else None
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.url = ""

    async def __aenter__(self) -> Self:
        """Listen on a free port of the loopback interface."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}{self._at.path.rstrip('/')}"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Cut all connections."""
        if self._server:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or len(self._tasks) >= MOST_CONNECTIONS:
            writer.transport.abort()
            return
        self._tasks.add(task)
        try:
            await self._connect(reader, writer)
            await _close(writer, flush=True)
        except (OSError, TimeoutError, asyncio.CancelledError):
            await _close(writer)
        finally:
            self._tasks.discard(task)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        port = self._at.port or (443 if self._tls else 80)
        up = await asyncio.open_connection(self._at.hostname, port, ssl=self._tls)
        now = asyncio.get_running_loop().time()
        exchange = _Exchange(now, now)
        try:
            await self._relay(exchange, (reader, writer), up)
        finally:
            await _close(up[1])

    async def _relay(
        self,
        exchange: _Exchange,
        down: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        up: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        """Pass on until the server has closed and all it said is passed on."""
        waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(CHUNKS)
        tasks = [
            asyncio.create_task(_requests(exchange, down[0], up[1])),
            asyncio.create_task(self._stamp(exchange, up[0], waiting)),
            asyncio.create_task(_watch(exchange)),
        ]
        answers = asyncio.create_task(_answers(exchange, waiting, down[1]))
        try:
            pending: set[asyncio.Task[None]] = {answers, *tasks}
            while not answers.done():
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
        finally:
            for task in (answers, *tasks):
                task.cancel()
            await asyncio.gather(answers, *tasks, return_exceptions=True)

    async def _stamp(
        self,
        exchange: _Exchange,
        reader: asyncio.StreamReader,
        waiting: asyncio.Queue[tuple[float, bytes]],
    ) -> None:
        """Note of each chunk when it is to be passed on; an empty one is the end."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                data = await reader.read(CHUNK)
            except OSError:
                data = b""
            exchange.moved = now = loop.time()
            await waiting.put((exchange.asked + self._stretch * (now - exchange.asked), data))
            if not data:
                return


async def _requests(
    exchange: _Exchange, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    loop = asyncio.get_running_loop()
    while data := await reader.read(CHUNK):
        exchange.asked = exchange.moved = loop.time()
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


async def _answers(
    exchange: _Exchange, waiting: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter
) -> None:
    loop = asyncio.get_running_loop()
    while True:
        when, data = await waiting.get()
        if (rest := when - loop.time()) > 0:
            await asyncio.sleep(rest)
        if not data:
            return
        writer.write(data)
        exchange.moved = loop.time()
        await writer.drain()


async def _close(writer: asyncio.StreamWriter, *, flush: bool = False) -> None:
    """Close a connection; what was written and not yet sent is sent first where `flush`."""
    if flush:
        writer.close()
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(IDLE):
                await writer.wait_closed()
    writer.transport.abort()
    with suppress(OSError):
        await writer.wait_closed()


async def _watch(exchange: _Exchange) -> None:
    """Raise when nothing has moved for too long."""
    loop = asyncio.get_running_loop()
    while (rest := exchange.moved + IDLE - loop.time()) > 0:
        await asyncio.sleep(rest)
    raise TimeoutError


async def _serve(upstream: str, share: float) -> None:
    async with SlowProxy(upstream, share) as proxy:
        sys.stdout.write(f"{proxy.url}\n")
        sys.stdout.flush()
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
        await reader.read()


def main() -> None:
    """Serve until standard input ends."""
    upstream, share = sys.argv[1:]

    def loop() -> asyncio.AbstractEventLoop:
        return asyncio.SelectorEventLoop(selectors.SelectSelector())

    with asyncio.Runner(loop_factory=loop) as runner, suppress(KeyboardInterrupt):
        runner.run(_serve(upstream, float(share)))


if __name__ == "__main__":
    main()
