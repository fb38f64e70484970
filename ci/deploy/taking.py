"""One step carried out against target and router, within its budget."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import anyio

from ci.concurrency import leaves, unless
from ci.deploy.judged import Judged, ProveSlot, WatchSlot
from ci.deploy.seams import Router, Target
from ci.deploy.steps import Drain, Fetch, Point, Prove, Rest, Shift, Start, Step, Stop, Watch
from ci.deploy.world import SLOTS, RouteSeen, SlotSeen, World
from ci.errors import RouterFault, SglangCiError, TargetFault
from ci.verdict import Verdict

_T = TypeVar("_T")


@dataclass(frozen=True)
class Budgets:
    """Most seconds that each step may take.

    Args:
        fetch: Fetching a release.
        start: Starting it, without its way to being ready.
        prove: Its way to being ready, and the proof.
        point: Until the router sees it answer.
        shift: Moving traffic.
        look: One look at target or router.
        watch: What a watch may take beyond its own seconds, if there is too little traffic.
        stop: What a stop may take beyond its grace.
    """

    fetch: float = 3600
    start: float = 120
    prove: float = 3600
    point: float = 60
    shift: float = 30
    look: float = 30
    watch: float = 1800
    stop: float = 60


class Changed(Exception):
    """The world that a step was decided on is another one now."""


@dataclass(frozen=True)
class Taking:
    """Carries out steps.

    Args:
        target: What runs the slots.
        router: What moves their traffic.
        prove: The proof of one slot.
        watch: The judgement of one slot's traffic.
        budgets: The steps' budgets.
        poll: Seconds between two looks in a step that waits.
    """

    target: Target
    router: Router
    prove: ProveSlot
    watch: WatchSlot
    budgets: Budgets = field(default_factory=Budgets)
    poll: float = 1

    async def look(self) -> World:
        """Return what is there.

        Raises:
            TargetFault: The target doesn't answer.
            RouterFault: The router doesn't answer.
        """
        return World(await self._slots(), await self._routes())

    async def _slots(self) -> Mapping[str, SlotSeen]:
        fault = TargetFault(_took("look at the target", self.budgets.look))
        return await _within(self.budgets.look, fault, self.target.seen)

    async def _routes(self) -> Mapping[str, RouteSeen]:
        fault = RouterFault(_took("look at the router", self.budgets.look))
        return await _within(self.budgets.look, fault, self.router.seen)

    async def take(self, step: Step, world: World) -> Judged:
        """Take a step that was decided on `world`, and return how it ended.

        Raises:
            Changed: A server came, went or was given other traffic while the step waited.
            TargetFault: The target did not do it.
            RouterFault: The router did not do it.
            SglangCiError: The proof or the watch could not be made.
        """
        match step:
            case Prove() | Point() | Watch() | Drain():
                return await self._unchanged(step, world)
            case Fetch() | Start() | Shift() | Stop():
                return Judged(cause=await self._order(step))
            case Rest():
                return Judged()

    async def _order(self, step: Fetch | Start | Shift | Stop) -> str:
        """Have a step done that needs no waiting; return how it ended, where that is told."""
        most = self.budgets
        match step:
            case Fetch(release):
                await self._on_target(step.line, most.fetch, partial(self.target.fetch, release))
            case Start(slot, release):
                start = partial(self.target.start, slot, release)
                await self._on_target(step.line, most.start, start)
            case Shift():
                await self._on_router(step.line, partial(self.router.shift, step.by_slot))
            case Stop(slot, grace):
                stop = partial(self.target.stop, slot, grace)
                return await self._on_target(step.line, grace + most.stop, stop)
        return ""

    async def _on_target(self, line: str, seconds: float, work: Callable[[], Awaitable[_T]]) -> _T:
        return await _within(seconds, TargetFault(_took(line, seconds)), work)

    async def _on_router(self, line: str, work: Callable[[], Awaitable[_T]]) -> _T:
        seconds = self.budgets.shift
        return await _within(seconds, RouterFault(_took(line, seconds)), work)

    async def _unchanged(self, step: Prove | Point | Watch | Drain, world: World) -> Judged:
        try:
            waiting = partial(self._wait, step, world)
            return await unless(waiting, partial(self._changed, world))
        except ExceptionGroup as group:  # a change may be seen by both in one moment
            if all(isinstance(leaf, Changed) for leaf in leaves(group)):
                raise Changed from group
            raise

    async def _wait(self, step: Prove | Point | Watch | Drain, world: World) -> Judged:
        match step:
            case Prove(slot):
                return await self._prove(step, world.slots[slot])
            case Watch():
                return await self._watch(step)
            case Point():
                return await self._point(step)
            case Drain():
                return await self._drain(step)

    async def _prove(self, step: Prove, slot: SlotSeen) -> Judged:
        most = self.budgets.prove
        judged = Judged(Verdict.FAILED, f"{step.line}: took over {most:g} s")
        with anyio.move_on_after(most):
            judged = await self.prove(slot.name, slot.address)
        if judged.verdict is Verdict.PASSED:
            if _identity((await self._slots())[slot.name]) != _identity(slot):
                raise Changed
            mark = partial(self.target.mark, slot.name)
            await self._on_target(f"mark {slot.name} as proven", self.budgets.look, mark)
        return judged

    async def _watch(self, step: Watch) -> Judged:
        """Watch again while there is too little traffic to judge, as long as the budget lasts."""
        enough = step.seconds + self.budgets.watch
        most, end = enough + self.budgets.look, anyio.current_time() + enough
        judged = Judged(Verdict.FAILED, f"{step.line}: no judgement in {most:g} s")
        with anyio.move_on_after(most):
            while True:
                judged = await self.watch(step.slot, step.share, step.seconds)
                if judged.verdict is not Verdict.INCONCLUSIVE or anyio.current_time() >= end:
                    break
                await anyio.sleep(self.poll)
        return judged

    async def _point(self, step: Point) -> Judged:
        await self._on_router(step.line, partial(self.router.point, step.slot, step.address))
        most = self.budgets.point
        with anyio.move_on_after(most):
            while not (await self._routes())[step.slot].up:
                await anyio.sleep(self.poll)
            return Judged()
        problem = f"no answer after {most:g} s; can the router's host reach it?"
        return Judged(Verdict.FAILED, f"{step.line}: {problem}")

    async def _drain(self, step: Drain) -> Judged:
        begin = anyio.current_time()
        while count := (await self._routes())[step.slot].open:
            waited = anyio.current_time() - begin
            if waited >= step.grace:
                said = f"{count} requests are open on {step.slot} after its grace, and will be cut"
                return Judged(cause=f"{said} (waited {waited:.1f} s)")
            await anyio.sleep(self.poll)
        return Judged()

    async def _changed(self, world: World) -> Exception:
        """Return once servers or shares are others than in `world`; a look that fails is none."""
        before = _outline(world)
        while True:
            await anyio.sleep(self.poll)
            try:
                now = _outline(await self.look())
            except SglangCiError:
                continue
            if now != before:
                return Changed()


def _identity(slot: SlotSeen) -> object:
    return slot.life, slot.release, slot.started, slot.address


def _outline(world: World) -> object:
    return [(_identity(world.slots[name]), world.routes[name].share) for name in SLOTS]


def _took(line: str, seconds: float) -> str:
    return f"{line}: no end after {seconds:g} s"


async def _within(seconds: float, fault: SglangCiError, work: Callable[[], Awaitable[_T]]) -> _T:
    """Return what `work` returns; raise the fault where that takes longer."""
    with anyio.move_on_after(seconds):
        return await work()
    raise fault
