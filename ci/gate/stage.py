"""A comparison of two servers as a stage of a run.

Whoever is compared is named by a URL, where a server runs, or by a settings file, by which
one is started on this host. Where both are files the images are judged: what is unclear costs
fresh starts of both. Otherwise the verdict is on two processes, as nothing can be started anew.
With `[gate] servers = "boots"` each block gets a start of its own, for machines on which the two
can't both be up.
"""

from __future__ import annotations

import math
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
from ci.gate import self_test, twins
from ci.gate.alternate import booted
from ci.gate.blocks import Arm, BlockResult, Pair, write_pairs
from ci.gate.compare import (
    Comparison,
    Options,
    Running,
    Watcher,
    compare,
    compare_rounds,
    no_baseline,
)
from ci.gate.configured import block_load, block_options, gate_options
from ci.gate.decide import Decision
from ci.gate.known import effect_of, keep, place_of
from ci.gate.loaded import loaded
from ci.gate.machine import Machine
from ci.gate.places import on_cores, swapped
from ci.gate.result import result_of
from ci.gate.sequential import Look
from ci.gate.words import percent
from ci.report.progress import Progress
from ci.server.key import BASELINE_API_KEY, wanted_at
from ci.settings import GateSettings, Settings
from ci.settings.model import ModelSettings
from ci.stages import StageResult, Stages, Tell

NAME, SELF_TEST = "compare", "compare self-test"
BOOTS, GPUS = "boots", "gpus"
"""Values of `[gate] servers`: a start for each block, and a GPU for each server."""
PAIRS = "pairs.jsonl"
"""Every pair of blocks of a comparison, beside its report."""
TWINS = "twins.jsonl"
"""The same of fresh starts of one image, where the self-test starts them."""


@dataclass(frozen=True)
class GateSide:
    """One side of a comparison.

    Args:
        name: What it is called: `baseline` or `candidate`.
        url: URL of its server; empty where one is to be started here.
        image: The image that it runs, where that is known.
        settings: What starts it.
        key: The API key of a server that runs already; None where it has none of its own.
    """

    name: str
    url: str = ""
    image: str = ""
    settings: Settings = field(default_factory=Settings)
    key: str | None = field(default=None, repr=False)


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


@dataclass(frozen=True)
class Gate:
    """A baseline, and how candidates are compared with it."""

    baseline: GateSide
    contest: Contest

    @property
    def boots(self) -> bool:
        """Whether each block gets a start of its own, so that no other server may be up."""
        return self.contest.servers == BOOTS

    @property
    def alone(self) -> bool:
        """Whether it starts both sides itself, where it can, so that no other server may be up."""
        return self.boots or (not self.baseline.url and self.contest.options.restarts)

    async def run(self, candidate: GateSide, stages: Stages, tell: Tell) -> StageResult:
        """Say whether `candidate` is slower."""
        found = await self._compared((self.baseline, candidate), stages)
        write_pairs(stages.folder / PAIRS, found.pairs)
        sides = (self.baseline, candidate)
        told_of = {side.name: side.image or side.url or "started here" for side in sides}
        result = result_of(found, tell)
        return replace(result, facts=told_of | result.facts)

    async def _compared(self, sides: tuple[GateSide, GateSide], stages: Stages) -> Comparison:
        """Compare the sides, in rounds of fresh starts where both can be started."""
        options, told = self.contest.options, Teller(stages.progress)
        if options.restarts and not any(side.url for side in sides):
            fresh = partial(fresh_round, self.contest, stages, sides)
            return await compare_rounds(fresh, options, told)
        async with _staying(self.contest, stages, sides) as at:
            return await compare(
                at.block, at.baseline, at.candidate, options, told, settle=at.settle
            )


async def proof(
    side: GateSide, twin: GateSide | None, contest: Contest, stages: Stages, tell: Tell
) -> StageResult:
    """Try the gate on servers of which it is known how much slower they are."""
    sides, told = (side, twin) if twin else (side,), Teller(stages.progress)
    async with _staying(contest, stages, sides) as at:
        found = await self_test.self_test(
            at.block, at.baseline, contest.options, twin=at.candidate, watcher=told
        )
    write_pairs(stages.folder / PAIRS, found.equal.pairs)
    result = self_test.result_of(found, tell)
    if not any(one.url for one in sides):
        await _twins(side, twin or replace(side, name=Arm.CANDIDATE), contest, stages, tell)
    return result


async def _twins(
    side: GateSide, twin: GateSide, contest: Contest, stages: Stages, tell: Tell
) -> None:
    """Measure what a start adds, and keep it for later comparisons on this machine."""
    fresh = partial(fresh_round, contest, stages, (side, twin))
    told = Teller(stages.progress)
    found = await twins.compared(fresh, contest.options, contest.at.twins, told)
    write_pairs(stages.folder / TWINS, found.comparison.pairs)
    if found.effect:
        keep(contest.at.starts_file, place_of(contest.at, contest.model), found.effect)
    tell(twins.case(found, contest.at.starts_file.name))


@asynccontextmanager
async def _staying(
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
    """Yield the URL of a side, started here and ready where it isn't running anyway.

    Raises:
        ServerFault: It doesn't become ready, and that is its own fault.
        CheckBroken: It can't be started here.
    """
    if side.url:
        with wanted_at(side.url, side.key, BASELINE_API_KEY):
            yield side.url
        return
    log = stages.folder / f"{side.name}.log"
    stages.progress.note(f"starting the {side.name}")
    async with ready(side.settings, log, stages.progress) as server:
        yield server.url


class Teller(Watcher):
    """Tells a run's progress what a comparison has seen."""

    def __init__(self, progress: Progress) -> None:
        """Tell `progress`."""
        self._progress = progress

    def measured(self, pair: Pair, look: Look) -> None:
        """Tell how many pairs there are, and what the last one showed."""
        told = (f"{name} {percent(math.expm1(pair.difference(name)))}" for name in pair.baseline)
        of = f"of {look.pairs}" if look.rounds == 1 else f"in start {look.rounds} of both sides"
        self._progress.live(f"pair {pair.index + 1} {of}: {', '.join(told)}")

    def looked(self, decision: Decision) -> None:
        """Tell what a look found."""
        told = (f"{one.metric} {percent(one.ratio - 1)} {one.verdict}" for one in decision.findings)
        look = decision.look
        when = f"{look.pairs} pairs" + (f" of start {look.rounds}" if look.rounds > 1 else "")
        self._progress.note(f"after {when}: {', '.join(told)}")

    def broke(self, problem: str) -> None:
        """Tell why a pair is measured anew."""
        self._progress.note(f"measured anew: {problem}")
