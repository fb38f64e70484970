"""Every state that a deployment can be in, as values, and what may happen to it in one moment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cached_property

from ci.deploy.judged import Judged
from ci.deploy.progress import Progress
from ci.deploy.runner import Runner, Strategy
from ci.deploy.steps import Drain, Fetch, Point, Prove, Shift, Start, Step, Stop, Watch
from ci.deploy.taking import Budgets, Taking
from ci.deploy.wanted import Wanted
from ci.deploy.world import SLOTS, Life, RouteSeen, SlotSeen, World
from ci.verdict import Verdict
from tests.fakes.deployment import BEGIN, Cut, FakeRouter, FakeTarget

Slots = tuple[SlotSeen, ...]
Routes = tuple[RouteSeen, ...]


@dataclass(frozen=True)
class State:
    """All that decides what can happen next.

    Args:
        slots: What the target holds.
        routes: What the router holds.
        asked: What the last command wants.
        progress: How far its run has come.
        graced: Slots whose open requests have had their grace since they had a share.
    """

    slots: Slots
    routes: Routes
    asked: Wanted
    progress: Progress
    graced: frozenset[str] = frozenset()

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash((self.slots, self.routes, self.asked, self.progress, self.graced))

    @cached_property
    def world(self) -> World:
        """What a look sees."""
        pairs = dict(zip(SLOTS, self.slots, strict=True))
        return World(pairs, dict(zip(SLOTS, self.routes, strict=True)))

    def commanded(self, wanted: Wanted) -> State:
        """Return the state after a new run has begun; the one before is gone."""
        return replace(self, asked=wanted, progress=Progress(wanted))


@dataclass(frozen=True)
class Mishap:
    """What goes wrong in one turn.

    Args:
        call: Which call fails, and how.
        cut: Where it fails; None where no call does.
        verdict: What proof and watch say.
        dies: The slot whose server dies between look and step; empty where none does.
        forgets: Whether the router restarts with nothing between look and step.
    """

    call: str = ""
    cut: Cut | None = None
    verdict: Verdict = Verdict.PASSED
    dies: str = ""
    forgets: bool = False


CALM = Mishap()
CALLS: dict[type[Step], str] = {
    Fetch: "fetch",
    Start: "start",
    Prove: "mark",
    Point: "point",
    Shift: "shift",
    Stop: "stop",
}


def mishaps(step: Step | None) -> Iterator[Mishap]:
    """Yield all that may go wrong in a turn that would take this step."""
    yield Mishap("target", Cut.BEFORE)
    yield Mishap("router", Cut.BEFORE)
    if step is None:
        return
    call = CALLS.get(type(step))
    halves = [Cut.HALF, Cut.OTHER_HALF] if isinstance(step, Shift) else [Cut.HALF]
    parts = halves if isinstance(step, Shift | Start | Stop) else []
    yield from (Mishap(call, cut) for cut in (Cut.BEFORE, Cut.AFTER, *parts) if call)
    if isinstance(step, Prove | Watch):
        yield from (Mishap(verdict=one) for one in (Verdict.FAILED, Verdict.ERROR))
    if isinstance(step, Watch):
        yield Mishap(verdict=Verdict.INCONCLUSIVE)
    yield from (Mishap(dies=slot) for slot in SLOTS)
    yield Mishap(forgets=True)


@dataclass(frozen=True)
class Moved:
    """One turn: the step that it took, if any, and the state afterwards."""

    step: Step | None
    after: State


@dataclass(frozen=True)
class _Racing(Taking):
    """Takes steps after something has happened that they were not decided on."""

    happens: Callable[[], None] = field(default=lambda: None)

    async def take(self, step: Step, world: World) -> Judged:
        self.happens()
        return await super().take(step, world)


class Model:
    """Turns of the real runner on states.

    Args:
        strategy: What decides the steps.
        bad: Digest of a release that never passes its proof.
    """

    def __init__(self, strategy: Strategy, bad: str = "") -> None:
        self._bad, self._mishap = bad, CALM
        self._target = FakeTarget()
        self._router = FakeRouter(self._target, ends=False)
        budgets = Budgets(point=0, watch=0)
        seams = (self._target, self._router, self._prove, self._watch)
        taking = _Racing(*seams, budgets, poll=60, happens=self._happens)
        self._runner = Runner(taking, lambda _: None, attempts=2, strategy=strategy)

    async def turn(self, state: State, mishap: Mishap = CALM) -> Moved:
        """Return what one turn of the runner does, with one thing going wrong in it."""
        self._mishap = mishap
        self._load(state)
        if mishap.cut:
            for part in (self._target, self._router):
                part.faults.plan(mishap.call, mishap.cut)
        turn = await self._runner.turn(state.progress)
        slots, routes = self._frozen()
        graced = set(state.graced) | ({turn.step.slot} if isinstance(turn.step, Drain) else set())
        graced -= {name for name, route in zip(SLOTS, routes, strict=True) if route.share}
        progress = _plain(turn.progress)
        return Moved(turn.step, State(slots, routes, state.asked, progress, frozenset(graced)))

    def settled(self, state: State, change: Callable[[FakeTarget, FakeRouter], None]) -> State:
        """Return a state after something has happened outside of any run."""
        self._load(state)
        change(self._target, self._router)
        self._router.settle()
        slots, routes = self._frozen()
        return replace(state, slots=slots, routes=routes)

    def _load(self, state: State) -> None:
        self._target.slots = dict(zip(SLOTS, state.slots, strict=True))
        self._router.routes = dict(zip(SLOTS, state.routes, strict=True))
        self._target.clock = len(SLOTS)
        for part in (self._target, self._router):
            part.calls.clear()
            part.faults.planned.clear()

    def _frozen(self) -> tuple[Slots, Routes]:
        """Return what is there; of times only their order is kept."""
        self._router.settle()
        slots = self._target.slots
        order = sorted({slot.number for slot in slots.values() if slot.number})
        rank = {0: (None, 0)} | {
            number: (BEGIN + timedelta(seconds=place), place + 1)
            for place, number in enumerate(order)
        }
        known = {name: rank[slots[name].number] for name in SLOTS}
        ranked = tuple(
            slots[name]
            if (slots[name].started, slots[name].number) == known[name]
            else replace(slots[name], started=known[name][0], number=known[name][1])
            for name in SLOTS
        )
        return ranked, tuple(self._router.routes[name] for name in SLOTS)

    def _happens(self) -> None:
        if self._mishap.dies:
            self._target.die(self._mishap.dies)
        if self._mishap.forgets:
            self._router.forget()
        self._router.settle()

    async def _prove(self, slot: str, _: str) -> Judged:
        seen = self._target.slots[slot]
        bad = seen.life is not Life.UP or (seen.release and seen.release.digest == self._bad)
        return Judged(Verdict.FAILED if bad else self._mishap.verdict)

    async def _watch(self, *_: object) -> Judged:
        return Judged(self._mishap.verdict)


def _plain(progress: Progress) -> Progress:
    """Return a run without the words that nothing depends on."""
    failure = progress.failure and Judged(progress.failure.verdict)
    end = progress.end and replace(progress.end, cause="")
    return replace(progress, failure=failure, end=end, said="", log="")
