"""Whether a release may go out to an environment at the moment, as a new or a resumed one."""

from __future__ import annotations

from datetime import datetime

from ci.deploy.grounds import Grounds
from ci.deploy.places import places
from ci.deploy.world import Release
from ci.errors import EnvironmentClosed, UsageError
from ci.release.season import closed


async def shut(grounds: Grounds, release: Release, now: datetime) -> str:
    """Return why a release may not go out now, and how to go on; empty where it may.

    What runs there already, or is on its way, may come to its end at any time: half-way is no
    place to stay at.

    Raises:
        TargetFault: The target doesn't answer.
    """
    settings = grounds.settings.environments[grounds.environment]
    why = closed(grounds.environment, settings, now)
    if not why:
        return ""
    return "" if await _is_there(grounds, release) else why


async def let_in(grounds: Grounds, release: Release, now: datetime) -> None:
    """See that a release may go out now.

    Raises:
        EnvironmentClosed: It may not.
        TargetFault: The target doesn't answer.
    """
    if why := await shut(grounds, release, now):
        raise EnvironmentClosed(why)


async def resumable(grounds: Grounds, release: Release) -> None:
    """See that a release is on its way, or there, so that nothing new is begun.

    Raises:
        UsageError: It isn't.
        TargetFault: The target doesn't answer.
    """
    if not await _is_there(grounds, release):
        raise UsageError(
            f"{release.called} is wanted in {grounds.environment}, and runs in none of its slots, "
            "so there is nothing to resume: sglang-ci deploy begins it, and deploy abort goes back"
        )


async def _is_there(grounds: Grounds, release: Release) -> bool:
    return any(place.holds(release) for place in places(await grounds.looked()))
