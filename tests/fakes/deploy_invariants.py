"""What holds in every moment of a deployment, written without the strategy's own words."""

from __future__ import annotations

from collections.abc import Iterator

from ci.deploy.steps import Drain, Fetch, Point, Prove, Shift, Start, Step, Stop
from ci.deploy.wanted import StrategyName, Wanted
from ci.deploy.world import SLOTS, WHOLE, Life, Release, World
from tests.fakes.deploy_states import CALM, Mishap, Moved, State

Broken = Iterator[str]


def good(world: World) -> set[str]:
    """Return the slots whose servers run and were proven."""
    return {name for name, slot in world.slots.items() if slot.life is Life.UP and slot.proven}


def got(world: World, name: str) -> int:
    """Return the share of requests that gets to a slot's server."""
    slot, route = world.slots[name], world.routes[name]
    return route.share if slot.address and slot.address == route.address else 0


def is_whole(world: World) -> bool:
    """Say whether the proven servers have all traffic, and nothing else has any."""
    shares = sum(route.share for route in world.routes.values())
    return shares == WHOLE == sum(got(world, name) for name in good(world))


def running(world: World, release: Release | None) -> set[str]:
    """Return the slots in which a release runs."""
    return {
        name
        for name, slot in world.slots.items()
        if slot.life is Life.UP and slot.release == release
    }


def is_between(world: World, wanted: Wanted) -> bool:
    """Say whether `replace` has no copy to give traffic to."""
    here = running(world, wanted.release)
    return wanted.strategy is StrategyName.REPLACE and wanted.release is not None and not here


def broken(state: State, mishap: Mishap, moved: Moved) -> Broken:
    """Yield each invariant that a turn breaks, in one line."""
    step, world, wanted = moved.step, state.world, state.progress.wanted
    if moved.after.progress.end and moved.after.progress.end.rested:
        yield from at_rest(moved.after)
    if step is None:
        return
    now_wanted = wanted if moved.after.progress.failure else moved.after.progress.wanted
    yield from shares_go_to_proven_servers(world, step)
    yield from traffic_comes_first(world, now_wanted, step)
    yield from whole_stays_whole(world, now_wanted, moved, mishap)
    yield from nothing_is_cut(state, step)
    yield from a_way_back_moves_traffic_first(world, now_wanted, step)
    yield from an_abort_keeps_what_was_stable(world, now_wanted, step)
    yield from one_copy(world, now_wanted, step)
    yield from no_stage_is_left_out(state, step)


def shares_go_to_proven_servers(world: World, step: Step) -> Broken:
    """No slot gets a share whose server isn't proven, or isn't where the router looks."""
    if isinstance(step, Shift):
        for name, share in step.by_slot.items():
            reached = world.slots[name].address == world.routes[name].address
            if share > world.routes[name].share and not (name in good(world) and reached):
                yield f"{name} gets {share} % and isn't proven"


def traffic_comes_first(world: World, wanted: Wanted, step: Step) -> Broken:
    """Where a proven server runs, traffic that isn't on one is put there before all else."""
    astray = good(world) and not is_whole(world) and not is_between(world, wanted)
    if astray and not isinstance(step, Shift | Point):
        yield f"traffic isn't on proven servers, and the next step is: {step.line}"


def whole_stays_whole(world: World, wanted: Wanted, moved: Moved, mishap: Mishap) -> Broken:
    """No step that goes well takes traffic from proven servers."""
    between = is_between(world, wanted)
    if mishap == CALM and is_whole(world) and not between and not is_whole(moved.after.world):
        yield "traffic has left the proven servers"


def nothing_is_cut(state: State, step: Step) -> Broken:
    """A server is stopped without a share, and without open requests or after its grace."""
    if not isinstance(step, Stop) or state.world.slots[step.slot].life is not Life.UP:
        return
    route = state.world.routes[step.slot]
    if route.share:
        yield f"{step.slot} is stopped with a share of {route.share} %"
    if route.open and step.slot not in state.graced:
        yield f"{step.slot} is stopped before it was drained"


def a_way_back_moves_traffic_first(world: World, wanted: Wanted, step: Step) -> Broken:
    """An abort or a roll-back to what runs moves all traffic before anything else."""
    kept = good(world) & running(world, wanted.release)
    if wanted.release is None:
        kept = (good(world) - running(world, wanted.rejected)) or good(world)
    elif not wanted.back:
        return
    astray = kept and max(got(world, name) for name in kept) < WHOLE
    if astray and isinstance(step, Fetch | Start | Prove | Drain | Stop):
        yield f"on the way back, before traffic: {step.line}"


def an_abort_keeps_what_was_stable(world: World, wanted: Wanted, step: Step) -> Broken:
    """An abort gives everything to the proven server that was there first, at any share."""
    kept = (good(world) - running(world, wanted.rejected)) or good(world)
    if wanted.release is not None or not kept:
        return
    stable = min(kept, key=lambda name: world.slots[name].number)
    if isinstance(step, Drain | Stop) and step.slot == stable:
        yield f"an abort ends {stable}, which was there first"
    if isinstance(step, Shift) and step.by_slot[stable] < WHOLE:
        yield f"an abort leaves {stable}, which was there first, {step.by_slot[stable]} %"


def one_copy(world: World, wanted: Wanted, step: Step) -> Broken:
    """Where one copy has room, none is started beside another."""
    up = [name for name in SLOTS if world.slots[name].life is Life.UP]
    if isinstance(step, Start) and step.slot in up:
        yield f"{step.slot} is started, and something runs there"
    if isinstance(step, Start) and wanted.strategy is StrategyName.REPLACE and up:
        yield f"a second copy is started in {step.slot}"


def no_stage_is_left_out(state: State, step: Step) -> Broken:
    """A canary's share rises by one stage, and only after the one before was watched."""
    wanted, world = state.progress.wanted, state.world
    candidate = sorted(running(world, wanted.release))[:1]
    if not isinstance(step, Shift) or wanted.back or not candidate or len(good(world)) < len(SLOTS):
        return
    name, other = candidate[0], next(slot for slot in SLOTS if slot != candidate[0])
    slots, share = world.slots, step.by_slot[candidate[0]]
    elder = slots[name].number < slots[other].number
    before = got(world, name)
    if elder or share <= before or not is_whole(world):
        return
    stages = [stage.share for stage in wanted.stages]
    if wanted.strategy is not StrategyName.REPLACE:
        if share > next(stage for stage in stages if stage > before):
            yield f"{name} goes from {before} to {share} %"
        watched = state.progress.done.watched
        if before and not (watched and watched.slot == name and watched.share == before):
            yield f"{name} goes from {before} to {share} %, and wasn't watched"


def at_rest(state: State) -> Broken:
    """At rest one slot runs; it is proven, has everything, and is what was wanted."""
    world, end, wanted = state.world, state.progress.end, state.asked
    up = {name for name, slot in world.slots.items() if slot.life is Life.UP}
    if not good(world):
        if state.progress.wanted.release is not None or (end and end.verdict.value == "PASSED"):
            yield "at rest with nothing proven"
        return
    if len(up) != 1 or len(good(world)) != 1 or not is_whole(world):
        yield "at rest with another number of slots than one, or without all traffic"
    if any(slot.life is Life.ENDED for slot in world.slots.values()):
        yield "at rest with remains"
    held = world.slots[next(iter(up))].release
    if wanted.release and end and end.verdict.value == "PASSED" and held != wanted.release:
        yield "PASSED at rest with another release than the wanted one"
