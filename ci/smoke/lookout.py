"""Asks now and then who answers, while cases run."""

from __future__ import annotations

from functools import partial

import anyio

from ci.report.model import Case
from ci.server.client import ServerClient
from ci.server.identity import PATH, Watched
from ci.verdict import Outcome

EVERY = 10
"""Cases from one look to the next; after a bad one there is a look at once."""
START = "the start"


class Lookout:
    """Looks at the start, and whenever the cases that are shown to it give cause.

    Args:
        client: The server.
    """

    def __init__(self, client: ServerClient) -> None:
        self.watched = Watched(partial(client.get, PATH))
        self._shown, self._moment, self._cause = 0, "", anyio.Event()

    def show(self, case: Case) -> None:
        """Take in that a case ended."""
        self._shown += 1
        bad = case.outcome in {Outcome.FAILED, Outcome.ERROR}
        if bad or self._shown % EVERY == 0:
            self._moment = f"'{case.name}'"
            self._cause.set()

    async def run(self) -> None:
        """Look until cancelled."""
        await self.watched.look(START)
        while True:
            await self._cause.wait()
            self._cause = anyio.Event()
            await self.watched.look(self._moment)

    async def end(self, seconds: float) -> None:
        """Look once more, for at most so many seconds, unless the server doesn't say who it is."""
        if not self.watched.silent:
            with anyio.move_on_after(seconds):
                await self.watched.look("the end")
