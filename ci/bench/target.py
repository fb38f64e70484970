"""Where requests go: the server's address, resolved once, and the heads of requests to it."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from urllib.parse import urlsplit

from ci.errors import NameUnresolved, Unreachable, UsageError
from ci.server.door import Door

_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class BenchTarget:
    """A server's address.

    Args:
        url: Its base URL.
        host: The host's name, as TLS verifies it.
        address: One of its addresses.
        port: Its port.
        path: What stands before every path.
        tls: How certificates are verified; None over plain HTTP.
        headers: Further headers of every request, the one with the key among them.
        key: The API key; empty for none.
    """

    url: str
    host: str
    address: str
    port: int
    path: str = ""
    tls: ssl.SSLContext | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    key: str = field(default="", repr=False)

    def post(self, path: str, body: bytes) -> bytes:
        """Return a whole POST request of a JSON `body`."""
        head = f"content-type: application/json\r\ncontent-length: {len(body)}\r\n"
        return self._head("POST", path, head) + body

    def get(self, path: str) -> bytes:
        """Return a whole GET request."""
        return self._head("GET", path, "accept: text/plain, */*\r\n")

    def _head(self, method: str, path: str, more: str) -> bytes:
        told = "".join(f"{name}: {value}\r\n" for name, value in self.headers.items())
        authority = urlsplit(self.url).netloc
        lines = f"{method} {self.path}{path} HTTP/1.1\r\nhost: {authority}\r\n{told}{more}\r\n"
        return lines.encode("latin-1")


async def resolve(
    url: str, headers: Mapping[str, str] | None = None, *, within: float = 5.0
) -> BenchTarget:
    """Return the server at `url`: the first address of its name that takes a connection.

    The name is looked up once and for all, so that no request pays for it. API key and
    certificates are those of every request to that server (`ci.server.door`).

    Args:
        url: The server's base URL.
        headers: Further headers of every request.
        within: Most seconds until an address takes a connection.

    Raises:
        UsageError: `url` is not a server's URL, or a header or the key can't be sent.
        NameUnresolved: Its host has no address here.
        Unreachable: None of its addresses takes a connection.
    """
    door = Door.to(url)
    at = urlsplit(door.url)
    for name, value in (headers or {}).items():
        if not (f"{name}{value}".isascii() and f"{name}{value}".isprintable()):
            raise UsageError(f"header {name!r}: its name or value can't be sent")
    port = at.port or _PORTS[at.scheme]
    return BenchTarget(
        url=door.url,
        host=at.hostname or "",
        address=await _address(url, at.hostname or "", port, within),
        port=port,
        path=at.path.rstrip("/"),
        tls=door.tls if at.scheme == "https" else None,
        headers=MappingProxyType({**(headers or {}), **door.headers}),
        key=door.key,
    )


async def _address(url: str, host: str, port: int, within: float) -> str:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise NameUnresolved(f"{url}: the host's name has no address here") from error
    problem: OSError = OSError("it has no address")
    for address in dict.fromkeys(str(place[0]) for *_, place in found):
        try:
            async with asyncio.timeout(within):
                _, writer = await asyncio.open_connection(address, port)
        except OSError as error:
            problem = error
        else:
            writer.close()
            return address
    if isinstance(problem, TimeoutError):
        raise Unreachable(url, f"no connection within {within:g} s") from problem
    refused = isinstance(problem, ConnectionRefusedError)
    why = "connection refused" if refused else f"can't connect: {problem}"
    raise Unreachable(url, why, refused=refused) from problem
