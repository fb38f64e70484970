"""A target and a router in memory, whose every call may fail before, after or half-way."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import Enum

import anyio

from ci.deploy.world import SLOTS, Life, Release, RouteSeen, SlotSeen, Traffic
from ci.errors import RouterFault, TargetFault

Pause = Callable[[], Awaitable[None]]
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
NONE, SOME = Traffic(), Traffic(requests=1)


class Cut(Enum):
    """Where a call fails."""

    BEFORE = "before it took effect"
    AFTER = "after it took effect"
    HALF = "after half of it took effect"
    OTHER_HALF = "after its other half took effect"
    HANGS = "never"


@dataclass
class Faults:
    """What goes wrong: by the name of a call, how often and where; `seen` is each look."""

    planned: dict[str, list[Cut]] = field(default_factory=dict)

    def plan(self, call: str, cut: Cut, times: int = 1) -> None:
        """Let the next calls of this name fail."""
        self.planned.setdefault(call, []).extend([cut] * times)

    def next(self, call: str) -> Cut | None:
        """Return where this call fails; None where it doesn't."""
        cuts = self.planned.get(call)
        return cuts.pop(0) if cuts else None


async def no_pause() -> None:
    """Go on at once."""


@dataclass
class FakeTarget:
    """Slots in memory.

    Args:
        slots: What is there.
        faults: What goes wrong.
        calls: What was asked, in order.
        clock: When the next server starts, in seconds after `BEGIN`.
        killed: Slots whose servers die as soon as they were started.
        pause: Is awaited before and after each call takes effect; a run may be cut off there.
    """

    slots: dict[str, SlotSeen] = field(
        default_factory=lambda: {name: SlotSeen(name) for name in SLOTS}
    )
    faults: Faults = field(default_factory=Faults)
    calls: list[str] = field(default_factory=list)
    clock: int = 1
    killed: set[str] = field(default_factory=set)
    pause: Pause = no_pause

    async def seen(self) -> Mapping[str, SlotSeen]:
        """Return every slot."""
        await self._cut(self.faults.next("target"), {Cut.BEFORE, Cut.AFTER})
        return dict(self.slots)

    async def fetch(self, release: Release) -> None:
        """Fetch nothing."""
        cut = await self._begin("fetch", release.digest)
        await self._cut(cut, {*Cut})

    async def start(self, slot: str, release: Release) -> None:
        """Start a release; half of it is a server that ends at once."""
        cut = await self._begin("start", f"{slot} {release.digest}")
        there = self.slots[slot]
        if there.life is Life.UP and there.release != release:
            raise TargetFault(f"{slot}: another release runs there")
        if there.life is not Life.UP:
            dies = slot in self.killed or cut in {Cut.HALF, Cut.OTHER_HALF}
            port = "2" if there.address.endswith("1") else "1"
            started = BEGIN + timedelta(seconds=self.clock)
            where, number = f"{slot}:{port}", self.clock + 1
            self.slots[slot] = SlotSeen(slot, Life.UP, release, where, started, number)
            self.clock += 1
            if dies:
                self.die(slot)
        await self._cut(cut, {*Cut})

    async def mark(self, slot: str) -> None:
        """Mark a slot as proven."""
        cut = await self._begin("mark", slot)
        self.slots[slot] = replace(self.slots[slot], proven=self.slots[slot].life is Life.UP)
        await self._cut(cut, {*Cut})

    async def stop(self, slot: str, grace: float) -> str:  # noqa: ARG002 - the protocol's
        """Stop a slot; half of it leaves the remains of its server."""
        cut = await self._begin("stop", slot)
        self.die(slot)
        if cut not in {Cut.HALF, Cut.OTHER_HALF}:
            self.slots[slot] = SlotSeen(slot)
        await self._cut(cut, {*Cut})
        return ""

    async def log(self, slot: str) -> str:
        """Return one line."""
        return f"the log of {slot}"

    def die(self, slot: str, how: str = "exited with 1") -> None:
        """End a slot's server."""
        there = self.slots[slot]
        if there.life is Life.UP:
            self.slots[slot] = replace(there, life=Life.ENDED, proven=False, ended=how)

    def run(self, slot: str, release: Release, *, proven: bool = True) -> None:
        """Let a release run in a slot."""
        started = BEGIN + timedelta(seconds=self.clock)
        where, number = f"{slot}:1", self.clock + 1
        self.slots[slot] = SlotSeen(slot, Life.UP, release, where, started, number, proven)
        self.clock += 1

    async def _begin(self, call: str, what: str) -> Cut | None:
        self.calls.append(f"{call} {what}")
        cut = self.faults.next(call)
        await self._cut(cut, {Cut.BEFORE, Cut.HANGS})
        return cut

    async def _cut(self, cut: Cut | None, at: set[Cut]) -> None:
        await self.pause()
        if cut is Cut.HANGS:
            await anyio.sleep_forever()
        if cut in at:
            raise TargetFault("no answer from the target")


@dataclass
class FakeRouter:
    """Routes in memory.

    Args:
        target: Whose servers it reaches.
        routes: What is there; a slot that gets a share has an open request from then on.
        faults: What goes wrong.
        calls: What was asked, in order.
        ends: Whether open requests end at the first look after their slot has no share.
        blind: Whether it sees nobody answer.
        deaf: Whether it takes shares and does nothing.
        pause: Is awaited before and after each call takes effect.
    """

    target: FakeTarget
    routes: dict[str, RouteSeen] = field(
        default_factory=lambda: {name: RouteSeen() for name in SLOTS}
    )
    faults: Faults = field(default_factory=Faults)
    calls: list[str] = field(default_factory=list)
    ends: bool = True
    blind: bool = False
    deaf: bool = False
    pause: Pause = no_pause

    @property
    def url(self) -> str:
        """Where clients send their requests."""
        return "http://router"

    @property
    def names_slots(self) -> bool:
        """Whether its answers name the slot."""
        return True

    async def seen(self) -> Mapping[str, RouteSeen]:
        """Return every slot."""
        await self._cut(self.faults.next("router"), {*Cut})
        self.settle()
        before = dict(self.routes)
        if self.ends:
            for name, route in self.routes.items():
                if not route.share:
                    self.routes[name] = replace(route, open=0)
        return before

    async def point(self, slot: str, address: str) -> None:
        """Point a slot."""
        cut = await self._begin("point", f"{slot} {address}")
        if self.routes[slot].address != address:
            self.routes[slot] = RouteSeen(address)
        await self._cut(cut, {*Cut})

    async def shift(self, shares: Mapping[str, int]) -> None:
        """Shift traffic; each half is one slot's share."""
        told = ", ".join(f"{name} {share}" for name, share in shares.items())
        cut = await self._begin("shift", told)
        parts = {Cut.HALF: SLOTS[:1], Cut.OTHER_HALF: SLOTS[1:]}
        for name in () if self.deaf else parts.get(cut, SLOTS) if cut else SLOTS:
            self.routes[name] = replace(self.routes[name], share=shares.get(name, 0))
        self.settle()
        await self._cut(cut, {*Cut})

    def forget(self) -> None:
        """Restart with nothing."""
        self.routes = {name: RouteSeen() for name in SLOTS}

    def settle(self) -> None:
        """Let requests arrive where there is a share, and be cut where there is no server."""
        there = {slot.address for slot in self.target.slots.values() if slot.life is Life.UP}
        for name, route in self.routes.items():
            up = route.address in there and not self.blind
            count = (route.open or int(route.share > 0)) if route.address in there else 0
            traffic = SOME if count or route.traffic.requests else NONE
            if (up, count, traffic) != (route.up, route.open, route.traffic):
                self.routes[name] = replace(route, up=up, open=count, traffic=traffic)

    async def _begin(self, call: str, what: str) -> Cut | None:
        self.calls.append(f"{call} {what}")
        cut = self.faults.next(call)
        await self._cut(cut, {Cut.BEFORE, Cut.HANGS})
        return cut

    async def _cut(self, cut: Cut | None, at: set[Cut]) -> None:
        await self.pause()
        if cut is Cut.HANGS:
            await anyio.sleep_forever()
        if cut in at:
            raise RouterFault("no answer from the router")
