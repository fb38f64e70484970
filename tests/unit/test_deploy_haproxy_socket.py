"""What is said where HAProxy's runtime socket gives no answer, or none that is one."""

from __future__ import annotations

import os
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import anyio
import psutil
import pytest

from ci.deploy.routers.haproxy import HaproxyRouter
from ci.deploy.routers.haproxy_socket import RuntimeSocket
from ci.errors import RouterFault
from tests.unit.router_rigs import (
    NEEDED,
    haproxy_rig,
)
from tests.unit.router_waits import HANG, pause

pytestmark = [pytest.mark.unit, pytest.mark.anyio]


@pytest.fixture
def folder() -> Iterator[Path]:
    """Yield a folder whose path is short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="router-") as name:
        yield Path(name)


@NEEDED
async def test_a_router_that_stands_still_is_said_in_bounded_time() -> None:
    """A deployment hangs at a router that was paused."""
    async with haproxy_rig() as rig:
        await pause(psutil.Process(rig.pid))
        asked = RuntimeSocket(rig.files.socket, seconds=0.2).ask("show info")
        with anyio.fail_after(HANG), pytest.raises(RouterFault, match="no answer to `show info`"):
            await asked
        await rig.vanish()


ANSWERS = {
    b"# pxname,svname\nsglang,bl": "cut in the middle",
    b"": "cut in the middle",
    b"Permission denied\n\n": "say `level admin`",
    b"<html>no HAProxy</html>\n\n": "not a table of HAProxy's",
    b"1\n# pxname,svname,be_name,srv_name\n\n": "not a table of HAProxy's, but: 1",
}


@pytest.mark.parametrize("answer", ANSWERS)
async def test_answers_that_are_none_are_said(folder: Path, answer: bytes) -> None:
    """Half a table is read as a whole one, and a slot is missing without a word."""
    path = folder / "haproxy.sock"
    with answering(path, answer), anyio.fail_after(HANG), pytest.raises(RouterFault) as raised:
        await HaproxyRouter("", path, slots=("blue",)).seen()
    assert ANSWERS[answer] in str(raised.value)


def answering(path: Path, answer: bytes) -> socket.socket:
    """Answer whatever is asked at a socket with the same bytes, until it is closed."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen()

    def serve() -> None:
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            with client:
                client.recv(4096)
                client.sendall(answer)

    threading.Thread(target=serve, daemon=True).start()
    return server


async def test_a_socket_that_cannot_be_used_is_said_with_its_cure(folder: Path) -> None:
    """Nobody knows whether HAProxy is missing, has ended, or may not be asked."""
    path = folder / "haproxy.sock"
    with pytest.raises(RouterFault, match="no such socket; start HAProxy"):
        await RuntimeSocket(path).ask("show info")
    with socket.socket(socket.AF_UNIX) as ended:
        ended.bind(str(path))
    with pytest.raises(RouterFault, match="HAProxy has ended"):
        await RuntimeSocket(path).ask("show info")
    with pytest.raises(RouterFault, match="too long for a socket"):
        await RuntimeSocket(folder / ("long" * 40)).ask("show info")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
async def test_a_socket_of_somebody_else_is_said_with_its_cure(folder: Path) -> None:
    """Nobody learns which line of HAProxy's configuration lets this user in."""
    with answering(folder / "haproxy.sock", b""):
        os.seteuid(65_534)
        try:
            with pytest.raises(RouterFault, match="may not open the socket; set `user`"):
                await RuntimeSocket(folder / "haproxy.sock").ask("show info")
        finally:
            os.seteuid(0)
