"""The two sides of a comparison, and how they come to run.

A side is a server that runs already, named by its URL; one that is started on this host, as a
settings file says; or one in a container, where an agent beside it starts it anew. With `[gate]
servers = "boots"` each block gets a start of its own, for machines on which the two can't both be
up.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Self

from ci.bench.configured import bench_options
from ci.bench.options import BenchOptions
from ci.bench.schedule import Closed
from ci.boot.serving import engine_of, ready
from ci.errors import ServerFault, UsageError
from ci.gate.alternate import booted
from ci.gate.blocks import BlockResult
from ci.gate.configured import block_load, block_options, gate_options
from ci.gate.known import effect_of
from ci.gate.loaded import loaded
from ci.gate.machine import Machine
from ci.gate.measured import Options, Running, no_baseline
from ci.gate.places import on_cores, swapped
from ci.health.anew import anew
from ci.health.targets import AgentTarget
from ci.server.key import BASELINE_API_KEY, wanted_at
from ci.settings import GateSettings, Settings
from ci.settings.model import ModelSettings
from ci.stages import Stages

BOOTS, GPUS = "boots", "gpus"
"""Values of `[gate] servers`: a start for each block, and a GPU for each server."""


@dataclass(frozen=True)
class GateSide:
    """One side of a comparison.

    Args:
        name: What it is called: `baseline` or `candidate`.
        url: URL of its server; empty where one is to be started here.
        image: The image that it runs, where that is known.
        settings: What starts it; of one beside an agent, what its start may take.
        key: The API key of a server that runs already; None where it has none of its own.
        agent: URL of the agent that starts it anew in its container; empty where there is none.
    """

    name: str
    url: str = ""
    image: str = ""
    settings: Settings = field(default_factory=Settings)
    key: str | None = field(default=None, repr=False)
    agent: str = ""

    @property
    def stays(self) -> bool:
        """Whether it runs already, and nobody here can start it anew."""
        return bool(self.url) and not self.agent


@dataclass(frozen=True)
class Contest:
    """How servers are compared.

    Args:
        options: What the gate is asked.
        load: The load of one block.
        asked: How it is sent.
        at: The settings of the gate.
        model: The model of a side that is started here; that of the settings where none is.
    """

    options: Options
    load: Closed
    asked: BenchOptions
    at: GateSettings
    model: ModelSettings

    @classmethod
    def of(cls, settings: Settings, *sides: GateSide) -> Self:
        """Return how the settings want `sides` to be compared.

        Raises:
            UsageError: The settings can't show anything, boots are asked of running servers, or
                the file of what is known of starts holds something else.
        """
        at = settings.gate
        running = next((side.url for side in sides if side.url), "")
        model = next((side.settings for side in sides if not side.url), settings).model
        if at.servers == BOOTS and running:
            raise UsageError(f'gate.servers is "boots", and {running} runs already: give its file')
        options = gate_options(at, None if at.servers == BOOTS else effect_of(at, model))
        options.looks()
        asked = block_options(bench_options(settings.bench, engine_of(settings)))
        return cls(options, block_load(at), asked, at, model)

    @property
    def servers(self) -> str:
        """How both get the machine: `together`, `boots` or `gpus`."""
        return self.at.servers


@asynccontextmanager
async def staying(
    contest: Contest, stages: Stages, sides: tuple[GateSide, ...]
) -> AsyncIterator[Running]:
    """Yield both sides, which aren't started anew; with `boots` each block does that itself."""
    if contest.servers != BOOTS:
        async with fresh_round(contest, stages, sides, 1) as at:
            yield at
        return
    known = {side.name: side for side in sides}
    machine = Machine.of((), contest.at.others)
    block = booted(partial(_fresh, contest, machine), lambda name: up(known[name], stages))
    names = [*known, ""]
    yield Running(block, names[0], names[1], machine.settle)


async def _fresh(contest: Contest, machine: Machine, url: str, seed: int) -> BlockResult:
    """Measure a block on a server that was just started."""
    async with loaded(contest.asked, contest.load) as block:
        return await machine.watched(block)(url, seed)


@asynccontextmanager
async def fresh_round(
    contest: Contest, stages: Stages, sides: tuple[GateSide, ...], number: int
) -> AsyncIterator[Running]:
    """Have both sides run since a start of their own; a side that misses has no name."""
    machine = Machine.of((side.url for side in sides if side.url), contest.at.others)
    async with (
        _up(contest, stages, sides, number) as urls,
        loaded(contest.asked, contest.load) as block,
    ):
        names = [urls[side.name] for side in sides]
        other = names[1] if len(names) > 1 else ""
        yield Running(machine.watched(block), names[0], other, machine.settle)


@asynccontextmanager
async def _up(
    contest: Contest, stages: Stages, sides: tuple[GateSide, ...], number: int
) -> AsyncIterator[dict[str, str]]:
    """Yield the URL of each side by its name, each in its place of a round."""
    places = sides[::-1] if swapped(contest.options.seed, number) else sides
    urls = {}
    async with AsyncExitStack() as stack:
        for place, side in enumerate(places):
            try:
                with on_cores(() if side.url else contest.at.cores, place):
                    here = up(_placed(contest, side, place), stages)
                    urls[side.name] = await stack.enter_async_context(here)
            except ServerFault as error:
                raise (no_baseline(error) if side.name == sides[0].name else error) from error
        yield urls


def _placed(contest: Contest, side: GateSide, place: int) -> GateSide:
    """Return a side that is started here on the GPU of its place, where the settings want that."""
    if contest.servers != GPUS:
        return side
    server = side.settings.server
    environment = {"CUDA_VISIBLE_DEVICES": str(place)} | server.environment
    alone = server.model_copy(update={"environment": environment})
    return replace(side, settings=side.settings.model_copy(update={"server": alone}))


@asynccontextmanager
async def up(side: GateSide, stages: Stages) -> AsyncIterator[str]:
    """Yield the URL of a side, started and ready where it isn't running anyway.

    Raises:
        ServerFault: It doesn't become ready, and that is its own fault.
        CheckBroken: It can't be started here.
    """
    if side.url:
        with wanted_at(side.url, side.key, BASELINE_API_KEY):
            if not side.agent:
                yield side.url
                return
            target = AgentTarget(side.url, side.agent)
            async with anew(target, side.settings.readiness, stages.progress, side.name):
                yield side.url
        return
    log = stages.folder / f"{side.name}.log"
    stages.progress.note(f"starting the {side.name}")
    async with ready(side.settings, log, stages.progress) as server:
        yield server.url
