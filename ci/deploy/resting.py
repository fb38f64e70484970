"""Whether an environment is at rest, and waiting until it is; nothing is changed."""

from __future__ import annotations

import anyio

from ci.deploy.grounds import Grounds
from ci.deploy.outcome import described
from ci.deploy.places import Place, places
from ci.deploy.world import WHOLE, Life, Release, World
from ci.report.model import Case
from ci.stages import StageResult, Tell
from ci.verdict import Outcome

NAME = "wait"
CASE = "the environment is at rest"


def resting(world: World) -> Place | None:
    """Return the place that runs alone, proven, with all traffic; None where none does."""
    there = [place for place in places(world) if place.slot.life is not Life.ABSENT]
    if len(there) != 1 or not there[0].good or there[0].served != WHOLE:
        return None
    return there[0]


async def waited(
    grounds: Grounds, wanted: Release | None, seconds: float, tell: Tell, poll: float = 1
) -> StageResult:
    """Wait until an environment is at rest and nobody deploys to it.

    PASSED: it is. FAILED: with another release than the wanted one. INCONCLUSIVE: not in time.

    Args:
        grounds: What it stands on.
        wanted: What is to run there; None where anything will do.
        seconds: Most seconds.
        tell: Is told the case.
        poll: Seconds between two looks.

    Raises:
        TargetFault: The target doesn't answer.
    """
    end = anyio.current_time() + seconds
    while True:
        busy, world = await grounds.glance()
        place = None if busy else resting(world)
        if place is not None or anyio.current_time() >= end:
            tell(_case(place, wanted, world, seconds, busy=busy))
            return StageResult(facts={"at the end": described(world)})
        await anyio.sleep(poll)


def _case(
    place: Place | None, wanted: Release | None, world: World, seconds: float, *, busy: bool
) -> Case:
    if place is None:
        who = "a deployment goes on" if busy else "nobody deploys: resume it, or abort it"
        problem = f"not after {seconds:g} s, and {who}; {described(world)}"
        return Case(name=CASE, outcome=Outcome.INCONCLUSIVE, message=problem)
    runs = place.slot.release.called if place.slot.release else "nothing known"
    if wanted is not None and not place.holds(wanted):
        problem = f"{runs} has all traffic, and {wanted.called} is wanted: it was taken back, or"
        return Case(name=CASE, outcome=Outcome.FAILED, message=f"{problem} nobody deployed it")
    return Case(name=CASE, outcome=Outcome.PASSED, message=f"{runs} in {place.name}")
