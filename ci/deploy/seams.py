"""The two seams of a deployment: what runs a digest, and what moves traffic.

An adapter is one module below `targets/` or `routers/`. All adapters of a seam pass one suite
of tests, its contract. Every method may be repeated: it brings about a state, and finds it
there the second time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from ci.deploy.world import Release, RouteSeen, SlotSeen


class Target(Protocol):
    """Runs digests in slots."""

    async def seen(self) -> Mapping[str, SlotSeen]:
        """Return every slot.

        Raises:
            TargetFault: The target doesn't answer.
        """

    async def fetch(self, release: Release) -> None:
        """Bring what a release needs to where it will run, before anything is stopped.

        Raises:
            TargetFault: It can't be had, or there is no room for it; nothing has changed.
        """

    async def start(self, slot: str, release: Release) -> None:
        """Start a release in a slot in which nothing runs; return before it is ready.

        The server outlives this process. Where the slot runs this very release already nothing
        happens; where it holds the remains of an ended one they are taken away first.

        Raises:
            TargetFault: It can't be started, or another release runs there.
        """

    async def mark(self, slot: str) -> None:
        """Keep with a slot that the server in it was proven."""

    async def stop(self, slot: str, grace: float) -> str:
        """End a slot's server: SIGTERM, `grace` seconds, SIGKILL; take away all that it had.

        Returns:
            How it ended, in one line; empty where nothing ran.
        """

    async def log(self, slot: str) -> str:
        """Return the last lines of a slot's server; empty where there are none."""


class Router(Protocol):
    """Gives traffic to slots. Clients know its URL alone."""

    @property
    def names_slots(self) -> bool:
        """Whether each answer has the header `x-sglang-slot`, with the slot that gave it."""

    @property
    def url(self) -> str:
        """Where clients send their requests."""

    async def seen(self) -> Mapping[str, RouteSeen]:
        """Return every slot.

        Raises:
            RouterFault: The router doesn't answer.
        """

    async def point(self, slot: str, address: str) -> None:
        """Say where a slot listens. A slot that is pointed elsewhere gets no traffic yet."""

    async def shift(self, shares: Mapping[str, int]) -> None:
        """Give each slot its share of new requests, of 100; open ones stay where they are.

        A share of 0 drains: the slot gets no new request, and its open ones come to their end.
        """
