"""No router: one server, whose own address is what clients know."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

import anyio

from ci.deploy.world import SLOTS, WHOLE, RouteSeen
from ci.errors import UsageError

SECONDS = 2.0
"""Most seconds until the server's port accepts a connection."""


class NoRouter:
    """Has whoever listens at the one slot's address serve all traffic.

    Args:
        url: The server's own base URL, which clients know.
        slot: The slot that listens there.
    """

    def __init__(self, url: str, slot: str = SLOTS[0]) -> None:
        at = urlsplit(url)
        host = at.hostname or ""
        if not host:
            raise UsageError(f"{url}: no host; write http://host:port")
        self._url, self._slot, self._host = url, slot, host
        self._port = at.port or (443 if at.scheme == "https" else 80)

    @property
    def url(self) -> str:
        """Where clients send their requests: the slot's own address."""
        return self._url

    @property
    def _address(self) -> str:
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{host}:{self._port}"

    async def seen(self) -> Mapping[str, RouteSeen]:
        """Return every slot: the one has all traffic while it listens; nothing is counted."""
        up = await self._listens()
        one = RouteSeen(address=self._address, share=WHOLE if up else 0, up=up)
        return {slot: RouteSeen() for slot in SLOTS} | {self._slot: one}

    async def point(self, slot: str, address: str) -> None:
        """Accept the slot's own address.

        Raises:
            UsageError: It is another slot or address: clients would have to know it.
        """
        if (slot, address) != (self._slot, self._address):
            raise UsageError(
                f"without a router {slot} can't be at {address}: clients know"
                f" {self._address} alone; start it there in {self._slot}, or use router haproxy"
            )

    async def shift(self, shares: Mapping[str, int]) -> None:
        """Accept that the one slot has everything.

        Raises:
            UsageError: Anything else, draining too: there is nothing that holds requests back.
        """
        given = {slot: share for slot, share in shares.items() if share}
        if given != {self._slot: WHOLE}:
            raise UsageError(
                f"without a router traffic can't be split or held back ({dict(shares)});"
                " use strategy replace, or router haproxy"
            )

    async def _listens(self) -> bool:
        try:
            with anyio.fail_after(SECONDS):
                stream = await anyio.connect_tcp(self._host, self._port)
                await stream.aclose()
        except (OSError, TimeoutError):
            return False
        return True
