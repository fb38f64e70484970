"""Whether somebody listens: what keeps a connection from being made is told, and kept from none."""

from __future__ import annotations

import socket

import pytest

from ci.boot import knock
from ci.boot.knock import obstacle
from ci.errors import NameUnresolved
from tests.fakes.faulty import BEHAVIOURS, closed_port, listening

pytestmark = [pytest.mark.unit, pytest.mark.anyio]


async def test_an_obstacle_is_named() -> None:
    """A port counts as open that isn't, or the report doesn't say why it wasn't."""
    port = closed_port()
    for host in ("127.0.0.1", "localhost"):
        assert await obstacle(f"http://{host}:{port}", 5.0, 0.5) == "connection refused"
    with listening(lambda _: None) as url:
        assert await obstacle(url, 5.0, 5.0) == "connections are cut at once"
    with listening(BEHAVIOURS["silent"]) as url:
        assert await obstacle(url, 5.0, 0.05) == ""
    with pytest.raises(NameUnresolved):
        await obstacle("http://no-such-host.invalid:1", 5.0, 0.0)


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a..b"])
async def test_a_host_without_an_address(host: str) -> None:
    """A misspelt host ends in a traceback, or is polled like a closed port."""
    with pytest.raises(NameUnresolved):
        await obstacle(f"http://{host}:1", 5.0, 0.0)


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> int:
    """A closed port of this host that each poll is given by the kernel for its own end."""
    chosen, opened = closed_port(), knock._open

    def open_there(family: int) -> socket.socket:
        one = opened(family)
        one.bind(("127.0.0.1", chosen))
        return one

    monkeypatch.setattr(knock, "_open", open_there)
    return chosen


async def test_a_poll_that_meets_itself_is_no_server(port: int) -> None:
    """A closed port counts as open, and its server is told that somebody else has taken it."""
    for _ in range(5):
        found = await obstacle(f"http://127.0.0.1:{port}", 5.0, 0.5)
        assert found == "connection refused: a poll met itself there"
    socket.create_server(("127.0.0.1", port)).close()


REUSE = {"addresses": socket.SO_REUSEADDR, "ports": socket.SO_REUSEPORT}


@pytest.mark.parametrize("option", REUSE.values(), ids=REUSE)
async def test_a_poll_never_keeps_the_port_from_the_server(
    port: int, option: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server can't bind its port because a poll sits on it at that very moment."""
    bound: list[str] = []
    address = socket.socket.getsockname

    def meanwhile(one: socket.socket) -> tuple[str, int]:
        with socket.socket() as server:
            server.setsockopt(socket.SOL_SOCKET, option, 1)
            server.bind(("127.0.0.1", port))
            server.listen()
        bound.append("listened")
        there: tuple[str, int] = address(one)
        return there

    monkeypatch.setattr(socket.socket, "getsockname", meanwhile)
    assert "met itself" in await obstacle(f"http://127.0.0.1:{port}", 5.0, 0.5)
    assert bound == ["listened"]
