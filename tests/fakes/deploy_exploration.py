"""A search through every state that a deployment reaches, whatever goes wrong in it."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial

from ci.deploy.outcome import described
from ci.deploy.progress import Progress
from ci.deploy.runner import Strategy
from ci.deploy.strategy import next_step
from ci.deploy.wanted import Wanted
from ci.deploy.world import SLOTS, Life, Release, RouteSeen, SlotSeen, Traffic
from tests.fakes.deploy_invariants import broken
from tests.fakes.deploy_states import CALM, Mishap, Model, Moved, Routes, Slots, State, mishaps
from tests.fakes.deployment import BEGIN, FakeRouter, FakeTarget

SHOWN = 5
"""So many broken invariants end a search for any."""
MOST_STEPS = 24
"""So many turns without a mishap lead to rest, from anywhere."""


def release(name: str) -> Release:
    """Return a release of this name."""
    digest = f"sha256:{name * 64}"[:71]
    return Release(digest, f"registry/image@{digest}", "0.5.23", f"deployment-{name}")


A, B, C = release("a"), release("b"), release("c")


@dataclass
class Found:
    """What a search has found.

    Args:
        states: States that were reached.
        turns: Turns that were taken from them.
        longest: Most turns without a mishap until rest.
        broken: Broken invariants, and where.
    """

    states: int = 0
    turns: int = 0
    longest: int = 0
    broken: list[str] = field(default_factory=list)


def begun(asked: Wanted, there: Release | None) -> State:
    """Return the state in which one release has everything, or nothing runs."""
    slots: Slots = tuple(SlotSeen(name) for name in SLOTS)
    routes = tuple(RouteSeen() for _ in SLOTS)
    if there:
        slots = (SlotSeen("blue", Life.UP, there, "blue:1", BEGIN, 1, proven=True), *slots[1:])
        routes = (RouteSeen("blue:1", 100, 1, up=True, traffic=Traffic(1)), *routes[1:])
    return State(slots, routes, asked, Progress(asked))


class Exploration:
    """Breadth-first search over states.

    Args:
        start: Where it begins.
        commands: What somebody may want at any moment.
        strategy: What decides the steps.
        disturbances: How much may go wrong on one way.
        sought: Ends where an invariant is broken in these words; where empty, at five of any.
        bad: Digest of a release that never passes its proof.
    """

    def __init__(
        self,
        start: State,
        commands: Iterable[Wanted],
        strategy: Strategy = next_step,
        disturbances: int = 2,
        sought: str = "",
        bad: str = "",
    ) -> None:
        self._start, self._commands = start, tuple(commands)
        self._model = Model(strategy, bad)
        self._most, self._sought = disturbances, sought
        self._left: dict[State, int] = {}
        self._calm: dict[State, Moved] = {}
        self._rest: dict[State, int] = {}
        self.found = Found()

    async def run(self) -> Found:
        """Search until there is nothing new."""
        waiting = deque([(self._start, self._most)])
        while waiting and not self._enough():
            state, left = waiting.popleft()
            if self._left.get(state, -1) >= left:
                continue
            if state not in self._left:
                await self._leads_to_rest(state)
            self._left[state] = left
            waiting.extend([(after, left) async for after in self._by_itself(state)])
            if left:
                waiting.extend([(after, left - 1) async for after in self._disturbed(state)])
        self.found.states = len(self._left)
        return self.found

    def _enough(self) -> bool:
        told = [line for line in self.found.broken if self._sought in line]
        return len(told) >= (1 if self._sought else SHOWN)

    async def _by_itself(self, state: State) -> AsyncIterator[State]:
        """Yield what follows without a mishap: the next turn, or the end of open requests."""
        if not state.progress.end:
            yield (await self._turned(state)).after
        for name, route in zip(SLOTS, state.routes, strict=True):
            if route.open and not route.share:
                yield replace(state, routes=_closed(state, name))

    async def _disturbed(self, state: State) -> AsyncIterator[State]:
        for changed in self._changes(state):
            yield changed
        if state.progress.end:
            return
        for mishap in mishaps((await self._turned(state)).step):
            moved = await self._model.turn(state, mishap)
            self._judge(state, mishap, moved)
            yield moved.after

    def _changes(self, state: State) -> Iterator[State]:
        """Yield what others may do between two turns."""
        yield from (state.commanded(wanted) for wanted in self._commands)
        yield state.commanded(state.asked)
        yield self._model.settled(state, lambda _, router: router.forget())
        yield self._model.settled(state, self._as_declared)
        for slot in state.slots:
            if slot.life is Life.UP:
                yield self._model.settled(state, partial(_dies, slot.name))

    def _as_declared(self, _: FakeTarget, router: FakeRouter) -> None:
        """Restart the router with what it had when the deployment began."""
        router.routes = dict(zip(SLOTS, self._start.routes, strict=True))

    async def _turned(self, state: State) -> Moved:
        if state not in self._calm:
            self._calm[state] = await self._model.turn(state)
            self._judge(state, CALM, self._calm[state])
        return self._calm[state]

    def _judge(self, state: State, mishap: Mishap, moved: Moved) -> None:
        self.found.turns += 1
        for what in broken(state, mishap, moved):
            self.found.broken.append(f"{what} [{described(state.world)}; {mishap}]")

    async def _leads_to_rest(self, state: State) -> None:
        """Repeat the command without a mishap, and hold that it comes to rest."""
        way: list[State] = []
        at = state.commanded(state.asked)
        while at not in self._rest and len(way) <= MOST_STEPS:
            way.append(at)
            if at.progress.end:
                break
            at = (await self._turned(at)).after
        end = at.progress.end
        if at not in self._rest and not (end and end.rested):
            self.found.broken.append(f"never rests: {described(state.world)}")
        known = self._rest.get(at, 0)
        for steps, one in enumerate(reversed(way), start=known + (at in self._rest)):
            self._rest[one] = steps
            self.found.longest = max(self.found.longest, steps)


def _dies(name: str, target: FakeTarget, _: FakeRouter) -> None:
    target.die(name)


def _closed(state: State, name: str) -> Routes:
    return tuple(
        replace(route, open=0) if slot == name else route
        for slot, route in zip(SLOTS, state.routes, strict=True)
    )
