"""A stand for the runner of a deployment: target, router, proof and watch in memory."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import anyio
import anyio.lowlevel
import pytest

from ci.deploy.judged import Judged, Reply
from ci.deploy.outcome import DeployOutcome
from ci.deploy.runner import Runner
from ci.deploy.taking import Budgets, Taking
from ci.deploy.wanted import Stage, StrategyName, Wanted
from ci.deploy.world import WHOLE, Life, Release
from tests.fakes.deploy_exploration import release
from tests.fakes.deployment import FakeRouter, FakeTarget
from tests.unit import virtual_time

_T = TypeVar("_T")
A, B, C = release("a"), release("b"), release("c")
CANARY = Wanted(B, StrategyName.CANARY, (Stage(10, 30), Stage(50, 30), Stage(WHOLE, 30)))
REPLACE = Wanted(B, StrategyName.REPLACE)
GOOD = Judged()
Happening = Callable[["Stand"], Awaitable[None]]


def at_once(work: Coroutine[Any, Any, _T]) -> _T:
    """Run work on a virtual clock that leaps at once: all that happens lies in memory."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(virtual_time, "GRACE", 0)
        patch.setattr(virtual_time, "HANG", 1e6)
        return virtual_time.run(work)


@dataclass
class Stand:
    """A target and a router in memory, and what proof and watch say.

    Args:
        proofs: What each proof says, by digest; passes where nothing stands.
        watches: What the watches say, in order; they pass where nothing is left.
        during: What happens during a proof or a watch, by `prove` or `watch` and share.
        reply: What a person says.
    """

    proofs: dict[str, Judged] = field(default_factory=dict)
    watches: list[Judged] = field(default_factory=list)
    during: dict[str, Happening] = field(default_factory=dict)
    reply: Reply = Reply.LATER
    target: FakeTarget = field(default_factory=FakeTarget)
    told: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Let A have everything."""
        self.router = FakeRouter(self.target)
        self.target.run("blue", A)
        address = self.target.slots["blue"].address
        self.router.routes["blue"] = replace(self.router.routes["blue"], address=address, share=100)

    def runner(self, **more: object) -> Runner:
        """Return a runner of these; it waits on a virtual clock."""
        budgets = Budgets(60, 60, 600, 60, 30, 30, 300, 60)
        taking = Taking(self.target, self.router, self.prove, self.watch, budgets)
        return Runner(taking, self.told.append, self.ask, **more)  # type: ignore[arg-type]

    def run(self, wanted: Wanted = CANARY, **more: object) -> DeployOutcome:
        """Run a deployment."""
        return at_once(self.runner(**more).run(wanted))

    async def prove(self, slot: str, address: str) -> Judged:
        """Prove a slot in ten seconds."""
        assert address == self.target.slots[slot].address
        await self._happens("prove")
        await anyio.sleep(10)
        await self._happens("proven")
        there = self.target.slots[slot].release
        return self.proofs.get(there.digest if there else "", GOOD)

    async def watch(self, slot: str, share: int, seconds: float) -> Judged:
        """Watch a slot."""
        assert self.router.routes[slot].share == share
        await self._happens(f"watch {share}")
        await anyio.sleep(seconds)
        return self.watches.pop(0) if self.watches else GOOD

    async def ask(self, question: str) -> Reply:
        """Say what a person says."""
        self.told.append(question)
        return self.reply

    async def _happens(self, when: str) -> None:
        happening = self.during.pop(when, None)
        if happening:
            await happening(self)

    def alone(self) -> Release | None:
        """Return the release that runs alone, proven, with everything; None where none does."""
        slots = self.target.slots
        there = [name for name, slot in slots.items() if slot.life is not Life.ABSENT]
        if len(there) != 1 or not slots[there[0]].proven:
            return None
        routes = self.router.routes
        whole = routes[there[0]].share == WHOLE == sum(route.share for route in routes.values())
        return slots[there[0]].release if whole else None


async def dies(slot: str, stand: Stand) -> None:
    """End a slot's server."""
    stand.target.die(slot)


async def hangs(stand: Stand) -> None:
    """Never end."""
    await anyio.sleep_forever()
