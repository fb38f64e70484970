"""Whether somebody listens at a server's URL, and isn't just a tunnel that waits for it.

`ssh -L`, a container's published port or a proxy in TCP mode accept connections for a server
that still loads, and cut each of them at once or seconds later. They cut one whatever is said
on it; what isn't an HTTP server keeps a silent one and cuts it for what is said.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import anyio

from ci.boot.knock import CUT, obstacle
from ci.engines.profile import Profile
from ci.errors import AnswerFault, KeyRefused, NameUnresolved, Unreachable

POLL_TIMEOUT = 5.0
ASK_SECONDS = 5.0
"""Most seconds after which a request that isn't cut shows that there is somebody."""
SILENT_SECONDS = 0.5
"""Least time for which a silent connection must hold to have somebody behind it."""
STRANGER_SECONDS = 3.0
"""How long something else than the engine must answer before it is believed to stay."""
NAME_SECONDS = 3.0
"""How long the host's name must lack an address before it counts as wrong."""


@dataclass
class Patience:
    """Passes something over until it was seen at every look for `seconds`."""

    seconds: float
    since: float | None = None

    def lasts(self, *, seen: bool) -> bool:
        """Take in whether it was seen just now; return whether that goes on for too long."""
        now = anyio.current_time()
        self.since = (now if self.since is None else self.since) if seen else None
        return self.since is not None and now - self.since >= self.seconds


@dataclass
class Listener:
    """What listens at a server's URL.

    Args:
        url: The server's base URL.
        engine: What it is to be a server of.
        ours: Whether the server was started on this host, so that there is no tunnel.
    """

    url: str
    engine: Profile
    ours: bool
    _nameless: Patience = field(default_factory=lambda: Patience(NAME_SECONDS))
    _mute: Patience = field(default_factory=lambda: Patience(STRANGER_SECONDS))

    async def problem(self) -> str:
        """Return what keeps the port from being open; a name may come late, or go again.

        Raises:
            NameUnresolved: The host's name lacks an address for too long.
        """
        try:
            problem = await obstacle(self.url, POLL_TIMEOUT, 0.0)
        except NameUnresolved as error:
            if self._nameless.lasts(seen=True):
                raise
            return str(error)
        self._nameless.lasts(seen=False)
        return problem if problem or self.ours else await self._nobody_behind()

    async def is_closed(self) -> bool:
        """Return whether nobody accepts connections."""
        try:
            return bool(await obstacle(self.url, POLL_TIMEOUT, 0.0))
        except NameUnresolved:
            return True

    async def is_tunnel(self, seconds: float) -> bool:
        """Return whether a silent connection is cut, as one with a request was after `seconds`."""
        hold = SILENT_SECONDS + 2 * seconds
        return bool(await obstacle(self.url, POLL_TIMEOUT, hold))

    async def _nobody_behind(self) -> str:
        """Ask once; return what shows that the server isn't there yet, as far as that is known."""
        begin = anyio.current_time()
        if not await self._cuts():
            return ""
        tunnel = await self.is_tunnel(anyio.current_time() - begin)
        return "" if self._mute.lasts(seen=not tunnel) else CUT

    async def _cuts(self) -> bool:
        """Return whether a request is cut before anything is said."""
        try:
            async with self.engine.client(self.url, ASK_SECONDS) as client:
                await self.engine.serving(client)
        except Unreachable:
            return True
        except (AnswerFault, KeyRefused, NameUnresolved):
            return False
        return False
