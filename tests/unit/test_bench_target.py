"""Where requests go: found once, or said to be out of reach."""

from __future__ import annotations

import socket

import pytest

from ci.bench.target import resolve
from ci.errors import NameUnresolved, Unreachable, UsageError
from tests.fakes.timed import Timed

pytestmark = [pytest.mark.unit, pytest.mark.anyio]


async def test_the_first_address_that_takes_a_connection_is_used() -> None:
    """A name with an IPv6 address on which nothing listens can't be measured."""
    with Timed() as server:
        found = await resolve(f"{server.url}/base/", {"x-key": "k"})
    assert (found.host, found.address, found.port) == ("localhost", "127.0.0.1", server.port)
    assert (
        found.get("/page")
        == (
            f"GET /base/page HTTP/1.1\r\nhost: localhost:{server.port}\r\n"
            "x-key: k\r\naccept: text/plain, */*\r\n\r\n"
        ).encode()
    )
    assert found.post("/p", b"{}").endswith(b"content-length: 2\r\n\r\n{}")
    assert "x-key" not in repr(found)


async def test_a_name_without_address_is_not_the_server_s_fault() -> None:
    """A mistyped name is a bad server."""
    with pytest.raises(NameUnresolved):
        await resolve("http://nothing.invalid")


async def test_a_port_on_which_nothing_listens_is_unreachable() -> None:
    """A server that doesn't run is a run of failed requests."""
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        with pytest.raises(Unreachable, match="connection refused"):
            await resolve(f"http://127.0.0.1:{place.getsockname()[1]}")


@pytest.mark.parametrize("headers", [{"a": "b\r\nc: d"}, {"a b\n": "c"}, {"ü": "c"}])
async def test_a_header_can_not_be_two(headers: dict[str, str]) -> None:
    """A key with a line end in it becomes part of the request."""
    with pytest.raises(UsageError, match="can't be sent"):
        await resolve("http://127.0.0.1:1", headers)
