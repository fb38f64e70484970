"""Whether anybody takes connections at an address, for routers that check nothing themselves."""

from __future__ import annotations

import anyio

SECONDS = 2.0
"""Most seconds until a connection is taken."""


async def is_taken(address: str) -> bool:
    """Return whether somebody takes connections at an address, `host:port`."""
    host, _, port = address.rpartition(":")
    if not port.isdecimal():
        return False
    with anyio.move_on_after(SECONDS):
        try:
            async with await anyio.connect_tcp(host.strip("[]"), int(port)):
                return True
        except OSError:
            return False
    return False
