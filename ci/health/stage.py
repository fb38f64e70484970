"""Health and drain as stages of a run: the servers that they hurt, and the ones that they may.

Without a URL each gets servers of its own, started as `ci` would and fresh after each deadly
fault. With one, the server that runs is asked; its processes are hurt only by `--pid`, or by
the fault agent of its container, which also starts it anew.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from ci.boot.serving import ready
from ci.health.anew import anew
from ci.health.check import FaultFindings, check_health
from ci.health.drain import Drains, check_drain
from ci.health.probes import PATHS
from ci.health.servers import Servers
from ci.health.targets import AgentTarget, FaultTarget, HostTarget
from ci.server.client import ServerClient
from ci.settings import Settings
from ci.stages import StageResult, Stages, Tell

HEALTH, DRAIN = "health", "drain"


@dataclass(frozen=True)
class GivenServer:
    """The server that a check is given.

    Args:
        url: Its base URL; empty where the check starts servers itself.
        pid: Of its parent process on this host; 0 where that isn't known.
        agent: URL of the fault agent beside it; empty where there is none.
    """

    url: str = ""
    pid: int = 0
    agent: str = ""

    def target(self) -> FaultTarget | None:
        """Return how its processes are reached; None where they aren't."""
        if self.agent:
            return AgentTarget(self.url, self.agent)
        return HostTarget(self.url, self.pid) if self.pid else None


async def health(given: GivenServer, settings: Settings, stages: Stages, tell: Tell) -> StageResult:
    """Compare what a server says of its health with what is true."""
    if given.url:
        await _well(given.url, settings.health.probe)
    found = FaultFindings(given.url, settings.health, tell, stages.progress.note)
    found.readiness = settings.readiness
    async with _servers(given, settings, stages) as servers:
        return await check_health(found, servers, stages.folder)


async def drain(given: GivenServer, settings: Settings, stages: Stages, tell: Tell) -> StageResult:
    """Send SIGTERM to a server that works, and say what was lost."""
    if given.url:
        await _well(given.url)
    found = Drains(settings.drain, tell, stages.progress.note)
    async with _servers(given, settings, stages) as servers:
        return await check_drain(found, servers)


async def _well(url: str, probe: str = "") -> None:
    """Ask for one token, and the probe that will be believed.

    Raises:
        ServerFault: None came: such a server needs no fault.
        KeyRefused: The server wants another API key.
    """
    async with ServerClient(url) as client:
        await client.first_token()
        if probe in PATHS:
            client.permitted(PATHS[probe], await client.ask("GET", PATHS[probe]))


def _servers(given: GivenServer, settings: Settings, stages: Stages) -> Servers:
    if given.agent:
        target = AgentTarget(given.url, given.agent)
        return Servers(partial(anew, target, settings.readiness, stages.progress), target)
    if given.url:
        return Servers(None, given.target())
    return Servers(partial(_fresh, settings, stages))


@asynccontextmanager
async def _fresh(settings: Settings, stages: Stages, purpose: str) -> AsyncIterator[FaultTarget]:
    """Start a server for `purpose`, and yield it as soon as it is ready.

    Raises:
        ServerFault: It doesn't become ready, and that is its own fault.
        CheckBroken: It can't be started here.
    """
    log = stages.folder / f"server-{purpose.replace(' ', '-')}.log"
    stages.progress.note(f"starting a server: {log.name}")
    async with ready(settings, log, stages.progress) as server:
        yield HostTarget(server.url, server.pid, lambda: server.exit_code)
