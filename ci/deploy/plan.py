"""Every step that a deployment would take, each one taken to go well; nothing is changed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ci.deploy.steps import Drain, Point, Prove, Rest, Shift, Start, Step, Stop
from ci.deploy.strategy import NOTHING, next_step
from ci.deploy.wanted import Wanted
from ci.deploy.world import Life, RouteSeen, SlotSeen, World, next_number

MOST = 100
"""More steps than any deployment takes."""
SOMEWHERE = "an address of its own"


def steps(world: World, wanted: Wanted) -> Iterator[Step]:
    """Yield what brings `wanted` about from `world`, `Rest` last."""
    done = NOTHING
    for _ in range(MOST):
        step = next_step(world, wanted, done)
        yield step
        if isinstance(step, Rest):
            return
        world, done = _after(world, step), done.after(step)


def _after(world: World, step: Step) -> World:
    """Return the world after a step that went well."""
    slots, routes = dict(world.slots), dict(world.routes)
    match step:
        case Start(slot, release):
            number = next_number(slots.values())
            slots[slot] = SlotSeen(slot, Life.UP, release, f"{SOMEWHERE} ({slot})", number=number)
        case Prove(slot):
            slots[slot] = replace(slots[slot], proven=True)
        case Point(slot, address):
            routes[slot] = RouteSeen(address=address, up=True)
        case Shift():
            shares = step.by_slot
            routes = {name: replace(one, share=shares.get(name, 0)) for name, one in routes.items()}
        case Drain(slot):
            routes[slot] = replace(routes[slot], open=0)
        case Stop(slot):
            slots[slot], routes[slot] = SlotSeen(slot), RouteSeen()
        case _:
            pass
    return World(slots, routes)
