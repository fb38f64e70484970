"""A model of the world, explored to its end: whatever goes wrong, no invariant breaks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import anyio
import pytest

from ci.deploy.places import Place, best, places
from ci.deploy.runner import Strategy
from ci.deploy.steps import Drain, Point, Prove, Rest, Shift, Step, Stop
from ci.deploy.strategy import Done, next_step
from ci.deploy.wanted import Stage, StrategyName, Wanted
from ci.deploy.world import Release, World
from tests.fakes.deploy_exploration import Exploration, Found, begun, release
from tests.rare import rare

pytestmark = pytest.mark.unit

A, B, C = release("a"), release("b"), release("c")
SHORT = 1e-6
"""Seconds of a watch; one that saw too little ends with them."""
STAGES = {
    StrategyName.REPLACE: (Stage(100),),
    StrategyName.BLUE_GREEN: (Stage(100, SHORT),),
    StrategyName.CANARY: (Stage(10, SHORT), Stage(75, SHORT, gate=True), Stage(100, SHORT)),
}
FLOOR = {StrategyName.REPLACE: 2500, StrategyName.BLUE_GREEN: 3000, StrategyName.CANARY: 4000}
"""Fewer states than these, from A to B with two mishaps, and something isn't explored any more."""


def wanted(strategy: StrategyName, of: Release | None = B) -> Wanted:
    """Return what a command wants; its gates are open, and nobody's requests end by waiting."""
    return Wanted(of, strategy, STAGES[strategy], approved=100, grace=0)


def commands(strategy: StrategyName) -> Iterator[Wanted]:
    """Yield what somebody may want in the middle of it all: A again, an abort, a roll-back, C."""
    yield wanted(strategy, A)
    yield replace(wanted(strategy, None), rejected=B)
    yield wanted(strategy, None)
    yield replace(wanted(strategy, A), back=True)
    yield wanted(strategy, C)


def explored(
    strategy: StrategyName,
    decide: Strategy = next_step,
    *,
    there: Release | None = A,
    sought: str = "",
    bad: str = "",
) -> Found:
    """Explore a deployment of B."""
    start = begun(wanted(strategy), there)
    search = Exploration(start, commands(strategy), decide, sought=sought, bad=bad)
    return anyio.run(search.run)


@pytest.mark.parametrize("strategy", rare(reversed(StrategyName)))
def test_no_invariant_breaks_whatever_goes_wrong(
    strategy: StrategyName, capsys: pytest.CaptureFixture[str]
) -> None:
    """With at most two mishaps a request goes to an unproven server, is cut, or nothing rests."""
    found = explored(strategy)
    told = f"{found.states} states, {found.turns} turns, at rest after at most {found.longest}"
    with capsys.disabled():
        print(f"\n{strategy}: {told}")  # noqa: T201 - how much was explored is the finding
    assert not found.broken
    assert found.states > FLOOR[strategy]


@pytest.mark.long
@pytest.mark.parametrize("strategy", rare(reversed(StrategyName)))
def test_a_first_deployment_breaks_none(strategy: StrategyName) -> None:
    """Where nothing runs yet an abort, a death or a router's restart leaves a mess."""
    found = explored(strategy, there=None)
    assert not found.broken
    assert found.states > 1000


@pytest.mark.parametrize("strategy", rare(reversed(StrategyName)))
def test_a_release_that_never_passes_ends_with_what_was_there(strategy: StrategyName) -> None:
    """A bad candidate is tried for ever, or what was there is not brought back."""
    found = explored(strategy, bad=B.digest)
    assert not found.broken
    assert found.states > 500


def stop_before_drain(world: World, wanted: Wanted, done: Done) -> Step:
    """Forget to wait for open requests."""
    step = next_step(world, wanted, done)
    return Stop(step.slot, wanted.stop_grace) if isinstance(step, Drain) else step


def share_before_proof(world: World, wanted: Wanted, done: Done) -> Step:
    """Let real requests be the proof."""
    step = next_step(world, wanted, done)
    if not isinstance(step, Prove):
        return step
    slot = world.slots[step.slot]
    if world.routes[step.slot].address != slot.address:
        return Point(step.slot, slot.address)
    share = world.routes[step.slot].share
    others = {name: 90 for name in world.slots if name != step.slot}
    return step if share else Shift.to({**others, step.slot: 10})


def stable_stops_first(world: World, wanted: Wanted, done: Done) -> Step:
    """Make room before the candidate is proven."""
    step = next_step(world, wanted, done)
    if isinstance(step, Prove):
        for place in places(world):
            if place.runs and place.name != step.slot:
                return Stop(place.name, wanted.stop_grace)
    return step


def abort_without_traffic(world: World, wanted: Wanted, done: Done) -> Step:
    """Stop a rejected candidate while requests go to it."""
    step = next_step(world, wanted, done)
    kept = best(place for place in places(world) if place.good and place.served < 100)
    leaving = [place for place in places(world) if place.runs and place is not kept]
    rejected = [place for place in leaving if _is_rejected(place, wanted)]
    return Drain(rejected[0].name, 0) if rejected and isinstance(step, Shift) else step


def abort_keeps_most(world: World, wanted: Wanted, done: Done) -> Step:
    """Have an abort keep whatever has most traffic."""
    most = max(places(world), key=lambda place: (place.good, place.served))
    if wanted.release or wanted.rejected or not most.good:
        return next_step(world, wanted, done)
    return next_step(world, replace(wanted, release=most.slot.release, back=True), done)


def _is_rejected(place: Place, wanted: Wanted) -> bool:
    return wanted.release is None and place.holds(wanted.rejected)


def watch_left_out(world: World, wanted: Wanted, done: Done) -> Step:
    """Go through a canary's stages at once."""
    blind = tuple(replace(stage, seconds=0, gate=False) for stage in wanted.stages)
    return next_step(world, replace(wanted, stages=blind), done)


def death_overlooked(world: World, wanted: Wanted, done: Done) -> Step:
    """Leave requests with a server that has ended, as long as anything else is to do."""
    step = next_step(world, wanted, done)
    if isinstance(step, Shift) and step.why:
        ended = [place for place in places(world) if not place.runs and place.slot.release]
        return Stop(ended[0].name, 0) if ended else step
    return step


def second_copy(world: World, wanted: Wanted, done: Done) -> Step:
    """Take every strategy for one with room for two."""
    return next_step(world, replace(wanted, strategy=StrategyName.CANARY), done)


def never_rests(world: World, wanted: Wanted, done: Done) -> Step:
    """Prove what has traffic once more instead of resting."""
    step = next_step(world, wanted, done)
    return Prove(step.slot) if isinstance(step, Rest) and step.slot else step


def remains_left(world: World, wanted: Wanted, done: Done) -> Step:
    """Rest while the slot that was left still runs."""
    step = next_step(world, wanted, done)
    whole = [place.name for place in places(world) if place.good and place.served == 100]
    return Rest(whole[0]) if whole and isinstance(step, Stop) else step


@pytest.mark.parametrize(
    ("strategy", "mistake", "found"),
    [
        (StrategyName.BLUE_GREEN, stop_before_drain, "before it was drained"),
        (StrategyName.REPLACE, stop_before_drain, "before it was drained"),
        (StrategyName.CANARY, share_before_proof, "and isn't proven"),
        (StrategyName.BLUE_GREEN, stable_stops_first, "is stopped with a share"),
        (StrategyName.CANARY, abort_without_traffic, "on the way back, before traffic"),
        (StrategyName.CANARY, abort_keeps_most, "which was there first"),
        (StrategyName.BLUE_GREEN, abort_keeps_most, "which was there first"),
        (StrategyName.CANARY, watch_left_out, "and wasn't watched"),
        (StrategyName.CANARY, death_overlooked, "traffic isn't on proven servers"),
        (StrategyName.REPLACE, second_copy, "a second copy is started"),
        (StrategyName.BLUE_GREEN, never_rests, "never rests"),
        (StrategyName.BLUE_GREEN, remains_left, "another number of slots than one"),
    ],
)
def test_a_seeded_mistake_is_found(
    strategy: StrategyName, mistake: Callable[[World, Wanted, Done], Step], found: str
) -> None:
    """The exploration passes whatever the strategy does."""
    broken = explored(strategy, mistake, sought=found).broken
    assert any(found in line for line in broken), broken[:3]
