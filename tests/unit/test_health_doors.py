"""A server that lets nobody in any more, with real sockets and the real uvicorn."""

from __future__ import annotations

import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
import uvicorn
from anyio.abc import SocketStream

from ci.platform.doors import Doors, turn_away
from ci.platform.gate import Message, Receive, Send, refuse

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

HOST = "127.0.0.1"
REQUEST = b"POST /generate HTTP/1.1\r\nHost: it\r\nContent-Length: 2\r\n\r\n{}"


@pytest.fixture
def anyio_backend() -> str:
    """Run on the loop that uvicorn wants."""
    return "asyncio"


async def app(scope: Message, receive: Receive, send: Send) -> None:
    """Refuse everything, as a draining server does."""
    if scope["type"] == "http":
        await receive()
        await refuse(send, "no more")


@asynccontextmanager
async def served() -> AsyncIterator[tuple[Doors, int]]:
    """Run uvicorn with doors; yield them and the port."""

    class Server(uvicorn.Server):  # type: ignore[misc] # untyped here
        """Of this test alone: doors wrap its start."""

    doors = Doors(Server)
    config = uvicorn.Config(app, host=HOST, port=0, lifespan="off", log_level="critical")
    config.load()
    server = Server(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    try:
        yield doors, server.servers[0].sockets[0].getsockname()[1]
    finally:
        await server.shutdown()


async def answer_of(stream: SocketStream) -> bytes:
    """Return all that still comes on a connection, and end it."""
    async with stream:
        return b"".join([part async for part in stream])


async def test_who_is_connected_is_answered_and_the_next_one_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A client that was connected when the server stopped listening is reset when it asks."""
    monkeypatch.setattr("ci.platform.doors.ASK_SECONDS", 20.0)  # however busy the machine is
    async with served() as (doors, port):
        early = [await anyio.connect_tcp(HOST, port) for _ in range(3)]
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(doors.close)
            for stream in early:
                await anyio.sleep(0.1)
                await stream.send(REQUEST)
                assert (await answer_of(stream)).startswith(b"HTTP/1.1 503 ")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((HOST, port))


async def test_who_never_asks_is_not_waited_for() -> None:
    """A client that only connects, as a router's pool does, keeps the server from ending."""
    async with served() as (doors, port):
        idle = await anyio.connect_tcp(HOST, port)
        with anyio.fail_after(20):
            await doors.close()
            assert not await answer_of(idle)


def test_new_connections_are_turned_away_and_made_ones_kept() -> None:
    """A listener's closing resets a connection that was made a moment before."""
    with socket.create_server((HOST, 0)) as listener:
        early = socket.create_connection(listener.getsockname())
        turn_away(listener.fileno())
        with pytest.raises(TimeoutError):
            socket.create_connection(listener.getsockname(), timeout=0.2)
        accepted, _ = listener.accept()
        with early, accepted:
            early.sendall(b"late")
            assert accepted.recv(4) == b"late"


async def test_another_uvicorn_still_ends(caplog: pytest.LogCaptureFixture) -> None:
    """A server of another make never starts, or never ends as its connections can't be closed."""
    started: list[object] = []

    class Other:
        async def startup(self, sockets: object = None) -> None:
            """Start nothing."""
            started.append(sockets)

    doors = Doors(Other)
    server: Any = Other()
    await server.startup(sockets="these")
    with caplog.at_level(logging.ERROR):
        await doors.close()
    assert started == ["these"]
    assert "connections can't be closed" in caplog.text
