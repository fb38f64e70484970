"""The servers of a deployed environment as targets, with what was released there as labels."""

from __future__ import annotations

from ci.deploy.places import places
from ci.deploy.world import World
from ci.settings.observe import ObserveTarget


def targets(environment: str, world: World) -> tuple[ObserveTarget, ...]:
    """Return a target for each slot whose server runs.

    The labels come from what a slot was started with, so that they outlive restarts of server and
    Prometheus; only a further deployment changes them.
    """
    return tuple(
        ObserveTarget(
            url=f"http://{place.slot.address}",
            **release.labels(environment, place.name),
        )
        for place in places(world)
        if (release := place.slot.release) and place.runs and place.slot.address
    )
