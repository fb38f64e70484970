"""A server in a container that the agent beside it starts anew, for a check or a comparison."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import anyio

from ci.boot.readiness import NAME as READINESS
from ci.boot.readiness import Readiness
from ci.concurrency import unless
from ci.errors import ServerExited, ServerFault
from ci.health.targets import AgentTarget, FaultTarget
from ci.report.progress import Progress
from ci.settings import ReadinessSettings
from ci.stages import checked
from ci.verdict import Verdict

POLL = 0.5
"""Seconds between two looks at whether a server that is started anew still runs."""


@asynccontextmanager
async def anew(
    target: AgentTarget, budgets: ReadinessSettings, progress: Progress, purpose: str
) -> AsyncIterator[AgentTarget]:
    """Have the agent start the server anew for `purpose`, and yield it as soon as it is ready.

    Raises:
        ServerFault: It doesn't become ready.
        CheckBroken: The agent doesn't do it.
    """
    progress.note(f"starting the server anew: {purpose}")
    await target.restart()
    ready = Readiness(target.url, budgets, progress)
    check = await unless(partial(checked, READINESS, ready.wait), partial(_death, target, purpose))
    if check.verdict is not Verdict.PASSED:
        raise ServerFault(f"started anew for {purpose!r}: {check.cause}")
    yield target


async def _death(target: FaultTarget, purpose: str) -> ServerExited:
    """Return how a server ended that was to get ready, as soon as it has."""
    while (state := await target.state()).running:
        await anyio.sleep(POLL)
    return ServerExited(state.exit_code, "started anew", f"it was to get ready for {purpose!r}")
