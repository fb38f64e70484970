"""The steps of a deployment: each small, repeatable, and told in one plain line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from ci.deploy.world import SLOTS, Release


@dataclass(frozen=True)
class Fetch:
    """Bring what a release needs to the target, before anything is stopped."""

    release: Release

    @property
    def line(self) -> str:
        """What the step does."""
        return f"fetch {self.release.called}"


@dataclass(frozen=True)
class Start:
    """Start a release in a slot in which nothing runs."""

    slot: str
    release: Release

    @property
    def line(self) -> str:
        """What the step does."""
        return f"start {self.release.called} in {self.slot}"


@dataclass(frozen=True)
class Prove:
    """Put the questions to the server in a slot, and mark it as proven where it passes."""

    slot: str

    @property
    def line(self) -> str:
        """What the step does."""
        return f"prove the server in {self.slot}"


@dataclass(frozen=True)
class Point:
    """Tell the router where a slot listens, and wait until the router sees it answer."""

    slot: str
    address: str

    @property
    def line(self) -> str:
        """What the step does."""
        return f"point the router's {self.slot} at {self.address}"


@dataclass(frozen=True)
class Shift:
    """Give the slots their shares of new requests, of 100, in the order of `SLOTS`.

    Args:
        shares: A share for each slot.
        why: What made it necessary, where the strategy's own stages did not.
    """

    shares: tuple[int, ...]
    why: str = field(default="", compare=False)

    @classmethod
    def to(cls, shares: Mapping[str, int], why: str = "") -> Shift:
        """Return the step that gives each slot its share; a slot that isn't named gets none."""
        return cls(tuple(shares.get(slot, 0) for slot in SLOTS), why)

    @property
    def by_slot(self) -> dict[str, int]:
        """The shares by the names of their slots."""
        return dict(zip(SLOTS, self.shares, strict=True))

    @property
    def line(self) -> str:
        """What the step does."""
        shares = ", ".join(f"{slot} {share} %" for slot, share in self.by_slot.items())
        return f"shift new requests: {shares}" + (f" ({self.why})" if self.why else "")


@dataclass(frozen=True)
class Watch:
    """Judge a slot by the real traffic that it gets.

    Args:
        slot: The candidate.
        share: The share that it has, of 100.
        seconds: How long it is watched at least.
        gate: Whether a person has to agree afterwards.
    """

    slot: str
    share: int
    seconds: float
    gate: bool = False

    @property
    def line(self) -> str:
        """What the step does."""
        gate = ", then wait for approval" if self.gate else ""
        return f"watch {self.slot} at {self.share} % for {self.seconds:g} s{gate}"


@dataclass(frozen=True)
class Drain:
    """Wait until no request is open on a slot without a share, for at most `grace` seconds."""

    slot: str
    grace: float

    @property
    def line(self) -> str:
        """What the step does."""
        return f"drain {self.slot}: wait up to {self.grace:g} s for its open requests"


@dataclass(frozen=True)
class Stop:
    """End a slot's server, with `grace` seconds between SIGTERM and SIGKILL, and clear the slot."""

    slot: str
    grace: float

    @property
    def line(self) -> str:
        """What the step does."""
        return f"stop {self.slot} and take away what it had"


@dataclass(frozen=True)
class Rest:
    """Nothing is left to do.

    Args:
        slot: The slot that has all traffic; empty where no slot is proven.
    """

    slot: str

    @property
    def line(self) -> str:
        """What the step does."""
        return f"rest: {self.slot} has all traffic" if self.slot else "rest: no proven slot is left"


Step: TypeAlias = Fetch | Start | Prove | Point | Shift | Watch | Drain | Stop | Rest
