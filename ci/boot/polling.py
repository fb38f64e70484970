"""Asking a server again and again until it says yes, or until what it says is believed to stay."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import anyio

from ci.boot import listening
from ci.boot.listening import Listener, Patience
from ci.boot.log import ServerLog
from ci.engines.profile import OtherServer
from ci.errors import (
    AnswerFault,
    BadAnswer,
    NameUnresolved,
    NotSglang,
    ServerExited,
    Unreachable,
    Unresponsive,
)
from ci.server.faults import is_passing

POLL = 0.05
GONE_SECONDS = 0.7
"""How long a port that was open must refuse connections before the server counts as dead."""


@dataclass
class Polling:
    """The polls of one server.

    Args:
        listener: What listens at its URL.
        log: Its log, where it can be read.
        last: What was seen last, in words.
        answered: Whether it ever spoke HTTP.
    """

    listener: Listener
    log: ServerLog | None = None
    last: str = "nothing was seen"
    answered: bool = False

    async def until(self, phase: str, ask: Callable[[], Awaitable[bool]]) -> None:
        """Ask until the answer is yes.

        Raises:
            AnswerFault: Something else answers, for too long to be passed over.
            ServerExited: Nobody listens any more.
        """
        gone, stranger = Patience(GONE_SECONDS), Patience(listening.STRANGER_SECONDS)
        while True:
            error: AnswerFault | None = None
            begin = anyio.current_time()
            try:
                if await ask():
                    return
            except NameUnresolved as fault:
                error = Unreachable(self.listener.url, "its host's name is gone", refused=True)
                self.last = str(fault)
            except AnswerFault as fault:
                error = await self._judged(fault, anyio.current_time() - begin)
                self.last = str(error)
            if gone.lasts(seen=await self._is_gone(error)):
                self._exited(phase)
            if stranger.lasts(seen=_is_final(error)) and error:
                raise error
            await anyio.sleep(POLL)

    async def _judged(self, error: AnswerFault, seconds: float) -> AnswerFault:
        """Tell what never spoke HTTP from a server that is gone, or isn't there yet."""
        self.answered |= not isinstance(error, Unreachable | Unresponsive)
        if not isinstance(error, Unreachable) or error.refused or self.answered:
            return error
        if await self.listener.is_tunnel(seconds):
            return error
        problem = f"{error.problem}; is it https://, or no HTTP server?"
        return self.listener.engine.stranger(error.url, problem)

    async def _is_gone(self, error: AnswerFault | None) -> bool:
        """Return whether nobody listens any more; who cuts a connection is still there."""
        if not isinstance(error, Unreachable):
            return False
        return error.refused or await self.listener.is_closed()

    def _exited(self, phase: str) -> None:
        """Raise that the server is gone; of a process of ours `died` knows more, and says it."""
        if not self.listener.ours:
            log = self.log.tail() if self.log else ""
            raise ServerExited(None, phase, f"its port was open, and now {self.last}", log)


def _is_final(error: AnswerFault | None) -> bool:
    """Return whether a server that is still starting doesn't answer like that."""
    if isinstance(error, BadAnswer):
        return error.status is None or not is_passing(error.status)
    return isinstance(error, NotSglang | OtherServer)
