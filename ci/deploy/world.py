"""What a deployment sees: the slots of a target, and the traffic that a router gives them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from ci.registry.reference import SHORT

SLOTS = ("blue", "green")
"""The names of the slots: at most two copies run side by side."""
WHOLE = 100
"""All traffic, in the unit of shares."""


class Life(StrEnum):
    """How a slot's server is seen by its target."""

    ABSENT = "absent"
    UP = "up"
    """Its process or container runs; whether it is ready is a question for the graph."""
    ENDED = "ended"
    """It was started, and runs no more."""


@dataclass(frozen=True)
class Release:
    """What is to run.

    Args:
        digest: The image's digest, `sha256:…`.
        reference: The image by digest in its registry, `host/name@sha256:…`.
        version: The SGLang version that the release claims; empty where unknown.
        deployment: Identifies this deployment, so that two of one digest are told apart.
    """

    digest: str
    reference: str
    version: str = ""
    deployment: str = ""

    @property
    def called(self) -> str:
        """What a person is told: its reference, or the beginning of a digest without one."""
        return self.reference or self.digest[:SHORT]

    def labels(self, environment: str, slot: str) -> dict[str, str]:
        """Return what its metrics and logs are labelled with in a slot; empty ones are unknown."""
        return {
            "environment": environment,
            "slot": slot,
            "release": self.digest[:SHORT],
            "image_digest": self.digest,
            "version": self.version,
        }


@dataclass(frozen=True)
class SlotSeen:
    """One slot, as its target sees it.

    Args:
        name: One of `SLOTS`.
        life: Whether its server runs.
        release: What it was started with; None where nothing was.
        address: Where it listens, `host:port`; empty where nothing was started.
        started: When it was started, UTC: for people, as clocks are set back.
        number: Its place in the order of starts: above that of what ran in the other slot.
        proven: Whether its proof passed. The target keeps the mark with the slot: it goes with
            the server that it speaks of.
        ended: How its server ended, in one line; empty while it runs.
    """

    name: str
    life: Life = Life.ABSENT
    release: Release | None = None
    address: str = ""
    started: datetime | None = None
    number: int = 0
    proven: bool = False
    ended: str = ""


@dataclass(frozen=True)
class Traffic:
    """What a router has given a slot since the router started, whatever the slot pointed at.

    A watch takes the difference between two looks. A router that was restarted or reloaded in
    between counts from 0 again: then a later look has less than an earlier one.

    Args:
        requests: Requests that it sent there.
        failed: Those without a good answer: 5xx of the server, no answer, a refused connection.
        cut: Answers that began and did not come to their end.
    """

    requests: int = 0
    failed: int = 0
    cut: int = 0


@dataclass(frozen=True)
class RouteSeen:
    """One slot, as the router sees it.

    Args:
        address: Where its traffic goes, `host:port`; empty where nowhere.
        share: New requests that it gets, of 100.
        open: Requests that are open on it now.
        up: Whether the router believes that it answers.
        traffic: What it was given so far.
    """

    address: str = ""
    share: int = 0
    open: int = 0
    up: bool = False
    traffic: Traffic = field(default_factory=Traffic)


@dataclass(frozen=True)
class World:
    """All that is there.

    Args:
        slots: What the target sees, by slot; every name of `SLOTS` is there.
        routes: What the router sees, likewise.
    """

    slots: Mapping[str, SlotSeen]
    routes: Mapping[str, RouteSeen]


def references(world: World) -> dict[str, Release]:
    """Return the releases that there are in a world, by their references in a registry."""
    there = [slot.release for slot in world.slots.values() if slot.release]
    return {release.reference: release for release in there if release.reference}


def next_number(slots: Iterable[SlotSeen]) -> int:
    """Return the number of a start beside these slots."""
    return 1 + max((slot.number for slot in slots), default=0)
