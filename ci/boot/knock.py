"""Whether somebody listens at a server's address, found out by connecting to it.

A poll of a closed port of this host can connect to itself: the kernel may give it the very
port that it asks for, and both ends are then one socket. That looks open, and it would keep
the port from the server that is about to bind it.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import anyio

from ci.errors import NameUnresolved

REFUSED = "connection refused"
CUT = "connections are cut at once"
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: close without a goodbye, which leaves nothing on the port."""


async def obstacle(url: str, seconds: float, hold: float) -> str:
    """Return what keeps a connection to `url` from being made; empty where one holds.

    Args:
        url: A server's base URL.
        seconds: Most seconds until it is made.
        hold: Seconds for which it must not be cut.

    Raises:
        NameUnresolved: The URL's host has no address.
    """
    at = urlsplit(url)
    port = at.port or (443 if at.scheme == "https" else 80)
    try:
        addresses = await _addresses(at.hostname or "", port)
    except (socket.gaierror, UnicodeError) as error:
        raise NameUnresolved(f"{url}: the host's name has no address here") from error
    problem = ""
    for family, address in addresses:
        problem = await _knock(family, address, seconds / len(addresses), hold)
        if not problem:
            break
    return problem


async def _addresses(host: str, port: int) -> list[tuple[int, Any]]:
    """Return family and address of each way to a host; a number takes no look-up."""
    found: Sequence[tuple[Any, ...]]
    kind, number = socket.SOCK_STREAM, socket.AI_NUMERICHOST
    try:
        found = socket.getaddrinfo(host, port, type=kind, flags=number)
    except (socket.gaierror, UnicodeError):
        found = await anyio.getaddrinfo(host, port, type=kind)
    return [(family, address) for family, *_, address in found]


async def _knock(family: int, address: Any, seconds: float, hold: float) -> str:
    """Connect to one address; return what kept the connection from being made and held."""
    with _open(family) as one:
        error = one.connect_ex(address)
        if one.getsockname()[1] == address[1]:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            return f"{REFUSED}: a poll met itself there"
        try:
            with anyio.fail_after(seconds):
                if error == errno.EINPROGRESS:
                    await anyio.wait_writable(one)
                    error = one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        except TimeoutError:
            return f"no connection within {seconds:g} s"
        if error:
            return REFUSED if error == errno.ECONNREFUSED else os.strerror(error)
        return "" if await _holds(one, hold) else CUT


def _open(family: int) -> socket.socket:
    """Return a socket beside which, for as long as it doesn't listen, a server can bind."""
    one = socket.socket(family, socket.SOCK_STREAM)
    one.setblocking(False)  # noqa: FBT003 - the standard library's
    for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
        one.setsockopt(socket.SOL_SOCKET, option, 1)
    return one


async def _holds(one: socket.socket, seconds: float) -> bool:
    """Return whether a connection isn't cut for so many seconds."""
    with anyio.move_on_after(seconds):
        await anyio.wait_readable(one)
        try:
            return bool(one.recv(1))
        except OSError:
            return False
    return True
