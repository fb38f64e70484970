"""What a person is told of an environment: what runs, and what a deployment would do."""

from __future__ import annotations

from collections.abc import Iterator

from ci.deploy.deployment import Deployment
from ci.deploy.grounds import Grounds
from ci.deploy.places import Place, places
from ci.deploy.plan import steps
from ci.deploy.world import Release


async def status(grounds: Grounds) -> list[str]:
    """Return lines on each slot: what runs there, whether it is proven, its share.

    Raises:
        TargetFault: The target doesn't answer.
    """
    world = await grounds.looked()
    first = f"{grounds.environment} at {grounds.router.url}"
    return [first, *(line for place in places(world) for line in _slot(place))]


def _slot(place: Place) -> Iterator[str]:
    slot, route = place.slot, place.route
    since = f" since {slot.started:%Y-%m-%d %H:%M:%S}Z" if slot.started else ""
    what = slot.release.called if slot.release else ""
    proven = ("proven" if slot.proven else "not proven") if slot.release else ""
    told = (slot.life.value + since, proven, slot.ended, what)
    yield f"{place.name}: {', '.join(filter(None, told))}"
    lost = route.traffic.failed + route.traffic.cut
    requests = route.traffic.requests
    yield f"  share {route.share} of 100, {route.open} open, {requests} requests, {lost} lost"


async def planned(grounds: Grounds, release: Release | None) -> list[str]:
    """Return a line for each step by which a release would go out.

    Raises:
        TargetFault: The target doesn't answer.
    """
    world = await grounds.looked()
    wanted = Deployment(grounds).wanted(release)
    return [f"{number}. {step.line}" for number, step in enumerate(steps(world, wanted), 1)]
