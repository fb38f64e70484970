"""Deployments of what is installed here, while users send streams."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio

from ci.deploy.deployment import NAME, Deployment
from ci.deploy.released import of_this_host
from ci.report.model import Check
from ci.settings.traffic import TrafficSettings
from ci.stages import Stages
from ci.traffic.options import TrafficOptions
from ci.traffic.pace import streams
from ci.traffic.records import StreamRecord
from tests.live.quiet import Quiet


async def deployed(of: Deployment, folder: Path, *, abort: bool = False) -> Check:
    """Deploy, or abort; return what was found."""
    stages = Stages(Quiet(), folder / "report")
    release = None if abort else of_this_host(of.grounds.settings)
    await of.run(of.wanted(release), stages)
    return next(check for check in stages.checks if check.name == NAME)


@asynccontextmanager
async def users(url: str, longest: float, **asked: Any) -> AsyncIterator[list[StreamRecord]]:
    """Send streams through the router while the context lasts, four a second.

    Args:
        url: The router's.
        longest: Most seconds of it.
        asked: Further settings of the traffic.
    """
    traffic = TrafficSettings(rate=4, api="generate", **asked)
    seen, until = list[StreamRecord](), anyio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(streams, url, TrafficOptions(traffic, longest), seen.append, until)
        yield seen
        until.set()
