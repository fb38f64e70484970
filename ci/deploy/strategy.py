"""Strategies as one pure function: from what is seen and what is wanted to the next step.

The order that loses nothing: fetch, start, prove on the slot itself, point, shift, watch, drain
at the router until no request is open, stop. Before all of that traffic is put right: what a
death or a router's restart left without a proven server goes to a proven one. A redeploy, an
abort or a roll-back in the middle is just another wanted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ci.deploy.places import Place, best, places
from ci.deploy.steps import Drain, Fetch, Point, Prove, Rest, Shift, Start, Step, Stop, Watch
from ci.deploy.wanted import ALL_AT_ONCE, Stage, StrategyName, Wanted
from ci.deploy.world import WHOLE, Life, Release, World


@dataclass(frozen=True)
class Done:
    """What one run has done that can't be seen in the world; a resumed run does it once more.

    Args:
        fetched: The release that was fetched.
        watched: The watch that passed last.
        drained: The slot whose open requests had their grace.
    """

    fetched: Release | None = None
    watched: Watch | None = None
    drained: str = ""

    def after(self, step: Step) -> Done:
        """Return what is done after a step that went well."""
        match step:
            case Fetch(release):
                return replace(self, fetched=release)
            case Watch():
                return replace(self, watched=step)
            case Drain(slot):
                return replace(self, drained=slot)
            case Start() | Prove() | Point():
                return replace(self, watched=None, drained="")
            case _:
                return replace(self, drained="")


NOTHING = Done()
"""What a run has done when it begins."""


def next_step(world: World, wanted: Wanted, done: Done = NOTHING) -> Step:
    """Return the step to take next; `Rest` where none is left."""
    both = places(world)
    goal = _goal(both, wanted)
    return (
        _traffic(both, goal, wanted, done)
        or _prepare(both, goal, wanted, done)
        or _advance(both, goal, wanted, done)
        or _clear(both, goal, wanted, done)
        or Rest(goal.name if goal else "")
    )


def way_back(world: World, wanted: Wanted, previous: Release | None) -> Wanted | None:
    """Return what is wanted once `wanted` has failed; None where nothing is left to try.

    Args:
        world: What is there.
        wanted: What failed.
        previous: What had traffic before, for when it doesn't run any more (`replace`).
    """
    if wanted.release is None:
        return None
    abort = replace(wanted, release=None, rejected=wanted.release)
    others = [place for place in places(world) if place.good and not place.holds(wanted.release)]
    if wanted.back or others or previous is None:
        return abort
    return (
        abort if _same(previous, wanted.release) else replace(wanted, release=previous, back=True)
    )


def _same(one: Release, other: Release) -> bool:
    return (one.digest, one.deployment) == (other.digest, other.deployment)


def _goal(both: Sequence[Place], wanted: Wanted) -> Place | None:
    """Return the place that is to have everything; None where it has to be made first."""
    if wanted.release is not None:
        return best(place for place in both if place.runs and place.holds(wanted.release))
    good = [place for place in both if place.good]
    return best(place for place in good if not place.holds(wanted.rejected)) or best(good)


def _traffic(
    both: Sequence[Place], goal: Place | None, wanted: Wanted, done: Done
) -> Point | Shift | None:
    """Put traffic right: onto proven servers, all of it."""
    good = [place for place in both if place.good]
    if _is_between(goal, wanted, done):
        return _shifted(both, {}, "one copy at a time: nothing serves until the new one is proven")
    if not good:  # an unproven server that has traffic keeps it: nobody would serve it better
        return _shifted(both, {place.name: place.route.share for place in both if place.runs})
    return _shifted(both, _shares(good, goal, wanted), _why(both))


def _is_between(goal: Place | None, wanted: Wanted, done: Done) -> bool:
    """Say whether the one copy has to go, because all that the next one needs is there."""
    one = wanted.strategy is StrategyName.REPLACE and wanted.release is not None
    return one and goal is None and done.fetched == wanted.release


def _shares(good: Sequence[Place], goal: Place | None, wanted: Wanted) -> Mapping[str, int]:
    """Return the shares that are right before any stage is gone on with."""
    other = next((place for place in good if place is not goal), None)
    if goal not in good or goal is None:
        kept = best(good)
        return {kept.name: WHOLE} if kept else {}
    if other is None or _is_at_once(goal, other, wanted):
        return {goal.name: WHOLE}
    agreed = min(goal.served, WHOLE - other.served)
    return {goal.name: agreed, other.name: WHOLE - agreed}


def _is_at_once(goal: Place, other: Place, wanted: Wanted) -> bool:
    """Say whether the goal gets everything without stages.

    On a way back it does, and where it is the elder one that still has half: it only stays.
    """
    stays = goal.slot.number < other.slot.number and goal.served >= other.served
    return wanted.back or wanted.release is None or stays


def _why(both: Sequence[Place]) -> str:
    """Return what is wrong with the traffic; empty where all of it is on proven servers."""
    bad = [place for place in both if place.route.share and not (place.good and place.pointed)]
    return ", ".join(f"{place.name} has traffic and {_lack(place)}" for place in bad)


def _lack(place: Place) -> str:
    if not place.runs:
        return f"has ended: {place.slot.ended}" if place.slot.ended else "doesn't run"
    return "listens elsewhere" if place.slot.proven else "isn't proven"


def _shifted(
    both: Sequence[Place], shares: Mapping[str, int], why: str = ""
) -> Point | Shift | None:
    """Return the step that brings the shares about, a slot that gets some being reached first."""
    for place in both:
        if place.good and shares.get(place.name, 0) and not place.entered:
            return Point(place.name, place.slot.address)
    if all(place.route.share == shares.get(place.name, 0) for place in both):
        return None
    return Shift.to(shares, why)


def _prepare(both: Sequence[Place], goal: Place | None, wanted: Wanted, done: Done) -> Step | None:
    """Bring the wanted release to run, and to be proven."""
    if wanted.release is None:
        return None
    if goal is not None:
        return None if goal.good else Prove(goal.name)
    if done.fetched != wanted.release:
        return Fetch(wanted.release)
    running = [place for place in both if place.runs]
    one = wanted.strategy is StrategyName.REPLACE
    if running and (one or len(running) == len(both)):
        kept = None if one else best(both)
        return _leave(next(place for place in running if place is not kept), both, wanted, done)
    free = sorted((place for place in both if not place.runs), key=lambda place: place.slot.life)
    return Start(free[0].name, wanted.release)


def _advance(both: Sequence[Place], goal: Place | None, wanted: Wanted, done: Done) -> Step | None:
    """Go through the stages of the shift, while there is a proven server to go back to."""
    other = next((place for place in both if place is not goal and place.good), None)
    if goal is None or other is None or _is_at_once(goal, other, wanted):
        return None
    if not goal.entered:
        return Point(goal.name, goal.slot.address)
    stages = ALL_AT_ONCE if wanted.strategy is StrategyName.REPLACE else wanted.stages
    watch = _watch(goal, stages)
    if watch and watch != done.watched:
        return watch
    share = next((stage.share for stage in stages if stage.share > goal.served), None)
    return Shift.to({goal.name: share, other.name: WHOLE - share}) if share else None


def _watch(goal: Place, stages: Sequence[Stage]) -> Watch | None:
    """Return the watch that a candidate's share asks for; None where it asks for none.

    A share between two stages is watched like the lower one, as it is.
    """
    reached = [stage for stage in stages if stage.share <= goal.served]
    stage = reached[-1] if reached else stages[0]
    if not goal.served or not (stage.seconds or stage.gate):
        return None
    return Watch(goal.name, goal.served, stage.seconds, stage.gate)


def _clear(both: Sequence[Place], goal: Place | None, wanted: Wanted, done: Done) -> Step | None:
    """Take away what isn't wanted, but for a server that has traffic that nobody else can take."""
    for place in both:
        alone = goal is None and place.runs and place.route.share
        if place is not goal and not alone:
            step = _leave(place, both, wanted, done)
            if step:
                return step
    return None


def _leave(place: Place, both: Sequence[Place], wanted: Wanted, done: Done) -> Step | None:
    """Return the step that brings a slot nearer to being empty; None where it is."""
    if place.slot.life is Life.ABSENT:
        return None
    if place.runs and place.route.share:
        return _shifted(both, {one.name: one.route.share for one in both if one is not place})
    if place.runs and place.route.open and done.drained != place.name:
        return Drain(place.name, wanted.grace)
    return Stop(place.name, wanted.stop_grace if place.runs else 0)
