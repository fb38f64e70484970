"""Slots seen from both sides at once: by their target and by the router."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ci.deploy.world import SLOTS, Life, Release, RouteSeen, SlotSeen, World


@dataclass(frozen=True)
class Place:
    """One slot, as target and router see it."""

    slot: SlotSeen
    route: RouteSeen

    @property
    def name(self) -> str:
        """The slot's name."""
        return self.slot.name

    @property
    def runs(self) -> bool:
        """Whether its server runs."""
        return self.slot.life is Life.UP

    @property
    def good(self) -> bool:
        """Whether its server runs and was proven: only then it may have traffic."""
        return self.runs and self.slot.proven

    @property
    def pointed(self) -> bool:
        """Whether the router sends its traffic to where its server listens."""
        return bool(self.slot.address) and self.route.address == self.slot.address

    @property
    def entered(self) -> bool:
        """Whether the router reaches it: it had requests, or the router sees it answer."""
        seen = self.route.up or self.route.share or self.route.traffic.requests
        return self.pointed and bool(seen)

    @property
    def served(self) -> int:
        """The share of new requests that its server really gets, of 100."""
        return self.route.share if self.pointed else 0

    def holds(self, release: Release | None) -> bool:
        """Say whether a release was started here; digest and deployment identify it."""
        own = self.slot.release
        if own is None or release is None or own.digest != release.digest:
            return False
        return release.deployment in {"", own.deployment}


def places(world: World) -> tuple[Place, ...]:
    """Return the world's slots, in the order of their names in `SLOTS`."""
    return tuple(Place(world.slots[name], world.routes[name]) for name in SLOTS)


def best(of: Iterable[Place]) -> Place | None:
    """Return the place to keep; None where there is none.

    A proven one comes before others, then the one that was started earlier, whatever its share.
    Of proven ones this is the *stable*: what was there first stays it until it is stopped.
    """
    ranked = sorted(of, key=lambda place: (not place.good, place.slot.number))
    return ranked[0] if ranked else None
