"""A demonstration: releases come and go behind a real router while streams go on.

Three releases of what is installed here: A serves, B takes its place and gives it back, C has a
flag by which SGLang aborts requests that have to queue. C passes its proof, loses streams in its
canary, and is taken back.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import anyio

from ci.boot.port import reserved
from ci.concurrency import one_error
from ci.deploy.deployment import NAME, Deployment
from ci.deploy.grounds import Grounds
from ci.deploy.released import of_this_host
from ci.deploy.routers.haproxy_process import stop as stop_router
from ci.deploy.world import SLOTS, WHOLE
from ci.errors import RouterFault
from ci.report.model import Case, Plot, Series
from ci.settings import EnvironmentSettings, Settings
from ci.stages import StageResult, Stages, Tell
from ci.traffic.findings import cases, facts, figures, left_out
from ci.traffic.options import TrafficOptions
from ci.traffic.pace import Paced, streams
from ci.traffic.plots import plots
from ci.traffic.records import Ending, StreamRecord
from ci.verdict import Outcome, Verdict

ENVIRONMENT = "demo"
LOOPBACK = "127.0.0.1"
QUEUES_NOTHING = ("--max-running-requests=1", "--max-queued-requests=1")
"""What is wrong with C."""
RATE = 6.0
"""Streams a second."""
STREAMS = {"rate": RATE, "api": "generate", "output_tokens": 160}
"""Long enough that several are under way at once."""
AFTERWARDS = 10.0
"""Seconds of streams when C is gone."""
LONGEST = 1800.0
"""Most seconds of streams."""
_LOOK = 1.0


@dataclass
class _Seen:
    """What was seen while the demonstration ran; seconds from its start."""

    begun: float
    records: list[StreamRecord] = field(default_factory=list)
    shares: dict[str, list[tuple[float, float]]] = field(
        default_factory=lambda: {slot: [] for slot in SLOTS}
    )
    paced: Paced | None = None

    @property
    def bad_from(self) -> float:
        """When C had no share yet; never where it got none."""
        shares = (at for at, share in self._bad if 0 < share < WHOLE)
        return next(shares, math.inf) - 2 * _LOOK

    @property
    def bad_until(self) -> float:
        """When all of its streams had come to their end."""
        return max((at for at, share in self._bad if 0 < share < WHOLE), default=0.0) + 2 * _LOOK

    @property
    def _bad(self) -> list[tuple[float, float]]:
        """The shares of either slot: only C's canary parts them."""
        return self.shares[SLOTS[0]]


async def demonstrate(settings: Settings, folder: Path, stages: Stages) -> None:
    """Deploy, switch there and back, and take a bad candidate back, under streams.

    Args:
        settings: The settings in force; their environments don't matter.
        folder: Keeps slots and router; its path has to be short, because of their sockets.
        stages: The run.
    """
    with reserved(LOOPBACK, settings.server.port) as port:
        await _demonstrated(partial(_of, settings, folder, port), stages)


async def _demonstrated(of: Callable[..., Deployment], stages: Stages) -> None:
    deployments = {
        "A": of(),
        "B": of(flags=("--random-seed=2",)),
        "C": of(flags=QUEUES_NOTHING, strategy="canary"),
    }
    try:
        if not await _step(stages, "A goes out", deployments["A"]):
            return
        async with _streams(deployments["A"].grounds, stages) as seen:
            await _step(stages, "B takes its place", deployments["B"])
            await _step(stages, "A comes back", deployments["A"])
            await _step(stages, "C is taken back", deployments["C"], good=False)
            await anyio.sleep(AFTERWARDS)
        await stages.run("streams", partial(_judged, seen))
    finally:
        with anyio.CancelScope(shield=True):
            await clear(deployments["A"].grounds)


async def clear(grounds: Grounds) -> None:
    """End all servers and the router of an environment."""
    for slot in SLOTS:
        await grounds.target.stop(slot, grounds.settings.server.stop_grace)
    await stop_router(grounds.folder / "router", grace=1)


def _of(
    settings: Settings,
    folder: Path,
    port: int,
    *,
    flags: tuple[str, ...] = (),
    strategy: str = "blue-green",
) -> Deployment:
    """Return the deployment of one of the releases behind a router on `port`."""
    environment = {"OMP_NUM_THREADS": "1"} | settings.server.environment
    server = settings.server.model_copy(
        update={"flags": (*settings.server.flags, *flags), "environment": environment}
    )
    demo = EnvironmentSettings.model_validate(
        {
            "deploy": {
                "folder": folder,
                "strategy": strategy,
                "shares": [50],
                "hold": 60.0,
                "budget": 60.0,
                "slower": 0.0,
                "grace": 60.0,
                "port": port,
            }
        }
    )
    free = server.model_copy(update={"port": 0})
    smoke = settings.smoke.model_copy(update={"select": settings.smoke.select or "greedy"})
    changes = {"server": free, "smoke": smoke, "environments": {ENVIRONMENT: demo}}
    return Deployment(Grounds.of(settings.model_copy(update=changes), ENVIRONMENT))


async def _step(stages: Stages, name: str, deployment: Deployment, *, good: bool = True) -> bool:
    """Deploy one release; a bad one has to be taken back, and nothing else will do."""
    release = of_this_host(deployment.grounds.settings)
    apart = Stages(stages.progress, stages.folder)
    await deployment.run(deployment.wanted(release), apart)
    done = next(check for check in apart.checks if check.name == NAME)
    expected = Verdict.PASSED if good else Verdict.FAILED
    right = done.verdict is expected

    async def told(tell: Tell) -> StageResult:
        outcome = Outcome.PASSED if right else Outcome.FAILED
        tell(Case(name=name, outcome=outcome, message=done.cause or "as it should"))
        return StageResult(phases=done.phases, facts=done.facts, log=done.log)

    await stages.run(name, told)
    return right


@asynccontextmanager
async def _streams(grounds: Grounds, stages: Stages) -> AsyncIterator[_Seen]:
    """Send streams through the router, and look at its shares, for as long as the context lasts."""
    asked = grounds.settings.traffic.model_copy(update=STREAMS)
    seen, until = _Seen(anyio.current_time()), anyio.Event()
    stages.progress.note(f"streams to {grounds.router.url}: {RATE:g} a second")
    with one_error():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_send, grounds.router.url, TrafficOptions(asked, LONGEST), seen, until)
            tasks.start_soon(_look, grounds, seen, until)
            yield seen
            until.set()


async def _send(url: str, options: TrafficOptions, seen: _Seen, until: anyio.Event) -> None:
    seen.paced = await streams(url, options, seen.records.append, until)


async def _look(grounds: Grounds, seen: _Seen, until: anyio.Event) -> None:
    while not until.is_set():
        with anyio.move_on_after(_LOOK):
            await until.wait()
        try:
            routes = await grounds.router.seen()
        except RouterFault:
            continue
        for slot, points in seen.shares.items():
            points.append((anyio.current_time() - seen.begun, float(routes[slot].share)))


async def _judged(seen: _Seen, tell: Tell) -> StageResult:
    """Judge the streams: none is lost but while C has some, and C is there to lose some."""
    bad = [one for one in seen.records if seen.bad_from <= one.started < seen.bad_until]
    others = [one for one in seen.records if one not in bad]
    for case in cases(others, TrafficOptions()):
        tell(case)
    lost = [one for one in bad if one.ending is not Ending.GOOD]
    why = f": {lost[0].why}" if lost else ""
    told = f"{len(lost)} of {len(bad)} streams while it had a share{why}"
    outcome = Outcome.PASSED if lost else Outcome.FAILED
    tell(Case(name="C loses streams", outcome=outcome, message=told))
    pace = {"pace": f"at most {RATE:g} streams a second"}
    if seen.paced and (fewer := left_out(seen.paced)):  # a busy machine's; it loses none by that
        pace["pace"] += f"; {fewer}"
    return StageResult(
        facts=facts(seen.records) | pace,
        figures=tuple(figures(seen.records)),
        plots=(_shares(seen), *plots(seen.records)),
    )


def _shares(seen: _Seen) -> Plot:
    series = (Series(name=slot, points=tuple(points)) for slot, points in seen.shares.items())
    return Plot(
        title="Shares of new requests", x="s", y="of 100", kind="step", series=tuple(series)
    )
