"""Whether a candidate is slower than the slot beside it: the gate's pairs of blocks, in a watch.

While both slots run, blocks of a few requests go to both slots' own addresses in turn, with the
same prompts, in an order that a coin decides. The gate's test then says whether the candidate is
slower by more than is allowed. FAILED: the bounds of its slow-down lie above that. PASSED: below.

Users' requests make a server slower, and the slots have other shares of them. More of them never
make one faster, so each share leaves one answer that they can't have caused: a candidate with
fewer of them that is slower is slow, and one with more of them that isn't slower is not. The other
answer of such a share is no proof, and is told as INCONCLUSIVE. At equal shares both count.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial

import anyio

from ci.bench.configured import bench_options
from ci.bench.options import WarmUp
from ci.bench.schedule import Closed
from ci.boot.serving import engine_of
from ci.concurrency import one_error
from ci.deploy.world import WHOLE, RouteSeen
from ci.errors import SglangCiError
from ci.gate.blocks import Arm, Block
from ci.gate.configured import block_options, gate_options
from ci.gate.decide import Decision
from ci.gate.duel import Duel
from ci.gate.loaded import loaded
from ci.gate.measured import Options, Watcher
from ci.gate.result import ratio_figure
from ci.gate.words import between, percent, rate
from ci.report.model import Case, Figure
from ci.settings import GateSettings, Settings
from ci.verdict import Outcome, Verdict

BLOCK = Closed(concurrency=1, requests=4)
"""The load of a block: one request at a time, as users are served by the same slots."""
WARM_UP = WarmUp(requests=8, seconds=10)
SPARES = 1000
"""Unusable pairs that are measured anew: on a busy machine 7 of 13 were, and a step's seconds
bound them anyhow."""

Blocks = Callable[[], AbstractAsyncContextManager[Block]]
"""Opens what measures blocks, for the time of one watch."""


def speed_options(at: GateSettings, slower: float) -> Options:
    """Return how slots are compared: as the gate's settings say, but for what is asked.

    The seed is always a new one: the stable slot has kept the prompts of an earlier watch in its
    cache, and the candidate hasn't.

    Args:
        at: The gate's rates of error, pairs and metrics; e2e follows from TTFT and TPOT.
        slower: The slow-down that is allowed, 0.2 for 20 %.

    Raises:
        UsageError: The settings can't show anything.
    """
    asked = gate_options(at.model_copy(update={"seed": None}))
    metrics = tuple(name for name in at.metrics if name != "e2e") or at.metrics
    rule = replace(asked.rule, slowdown=slower, least=slower, allowed=slower, metrics=metrics)
    asked.schedule.looks(rule)
    return replace(asked, rule=rule, spares=SPARES)


def probing(settings: Settings) -> Blocks:
    """Return what measures blocks of requests that are as long as `[bench]` says.

    Their prompts are drawn, and have no common prefix: one that the stable slot knows already
    would be answered sooner there.
    """
    bench = settings.bench.model_copy(update={"prompts": None, "prefix_share": 0.0})
    asked = block_options(bench_options(bench, engine_of(settings)))
    plain = replace(asked.sampling, keep_outputs=False)
    return partial(loaded, replace(asked, warm_up=WARM_UP, sampling=plain), BLOCK)


@dataclass(frozen=True)
class SpeedSides:
    """Who is compared.

    Args:
        slot: The candidate.
        stable: The slot that it is compared with.
        share: The candidate's share of new requests, of 100.
        servers: URL of each.
    """

    slot: str
    stable: str
    share: int
    servers: Mapping[Arm, str]


class SpeedStep(Watcher):
    """What is known of a candidate's speed at one share.

    Args:
        sides: Who is compared.
        options: How.
        note: Is told in one line what each look found.

    Attributes:
        sides: Who is compared.
        duel: The comparison, with all pairs so far.
        problem: Why the last watch measured no further pair; empty where nothing kept it.
    """

    def __init__(self, sides: SpeedSides, options: Options, note: Callable[[str], None]) -> None:
        self.sides, self._note = sides, note
        self.duel, self.problem = Duel(sides.servers, options, self), ""

    def looked(self, decision: Decision) -> None:  # noqa: ARG002 - the duel has it by then
        """Tell what a look found."""
        self._note(f"{self.name}: {self.told}")

    @property
    def verdict(self) -> Verdict:
        """What is shown, users' requests thought of."""
        found, share = self._found, self.sides.share
        loaded_more = found is Verdict.FAILED and share * 2 > WHOLE
        loaded_less = found is Verdict.PASSED and share * 2 < WHOLE
        return Verdict.INCONCLUSIVE if loaded_more or loaded_less else found

    @property
    def known(self) -> bool:
        """Whether anything is shown."""
        return self.verdict is not Verdict.INCONCLUSIVE

    @property
    def _decision(self) -> Decision | None:
        return self.duel.decision

    @property
    def _found(self) -> Verdict:
        return self._decision.verdict if self._decision else Verdict.INCONCLUSIVE

    @property
    def name(self) -> str:
        """What the step is called in a report."""
        return f"speed of {self.sides.slot} at {self.sides.share} %"

    @property
    def told(self) -> str:
        """What was seen, and what follows from it, in one line."""
        return f"{self._seen()}: {self._meaning()}"

    def case(self) -> Case:
        """Return the case that says what is shown."""
        return Case(name=self.name, outcome=Outcome(self.verdict.value), message=self.told)

    def figures(self) -> Iterator[Figure]:
        """Yield each metric's ratio, candidate over stable, with its bounds."""
        sides = self.sides
        what = f"{sides.slot} / {sides.stable} at {sides.share} %"
        for one in self._decision.findings if self._decision else ():
            yield ratio_figure(f"{one.metric}, {what}", one)

    def _seen(self) -> str:
        if self._decision is None:
            return f"{len(self.duel.pairs)} pairs of blocks"
        metrics = ", ".join(
            f"{one.metric} {percent(one.ratio - 1)} ({between(one.low, one.high)})"
            for one in self._decision.findings
        )
        return f"{metrics} beside {self.sides.stable}, {self._decision.look.pairs} pairs"

    def _meaning(self) -> str:
        rule = self.duel.options.rule
        least = self.duel.options.schedule.looks(rule)[0].pairs
        allowed, found = rate(rule.allowed), self._found
        if found is Verdict.FAILED:
            said, other = f"slower by more than {allowed}", self.sides.slot
        elif found is Verdict.PASSED:
            said, other = f"not slower by {allowed}", self.sides.stable
        else:
            few = f"too few, {least} are needed" if self._decision is None else ""
            unsure = few or f"can't tell whether it is slower by {allowed}"
            why = self.problem or self._unusable()
            return f"{unsure} ({why})" if why else unsure
        if self.verdict is found:
            return said
        return f"{said}, which proves nothing: {other} has more of the users' requests"

    def _unusable(self) -> str:
        unusable = self.duel.unusable
        return f"{len(unusable)} more were unusable; the last: {unusable[-1]}" if unusable else ""


class Speed:
    """Judges how fast a candidate is, step by step of one deployment.

    Args:
        options: How slots are compared.
        blocks: Opens what measures them.
        demanded: Whether it has to be shown once, at a share of 50 or more, that the candidate
            isn't slower than is allowed.
        note: Is told in one line what each look found.
    """

    def __init__(
        self,
        options: Options,
        blocks: Blocks,
        *,
        demanded: bool = False,
        note: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._options, self._blocks, self._note = options, blocks, note
        self._demanded = demanded
        self._steps: dict[tuple[str, int], SpeedStep] = {}

    @property
    def steps(self) -> tuple[SpeedStep, ...]:
        """What is known, by steps in their order."""
        return tuple(self._steps.values())

    def lacks(self, step: SpeedStep) -> bool:
        """Return whether a step may not end yet, as nothing has shown that it isn't slower."""
        slot, share = step.sides.slot, step.sides.share
        shown = any(one.verdict is Verdict.PASSED for one in self.steps if one.sides.slot == slot)
        return self._demanded and not shown and share * 2 >= WHOLE

    @asynccontextmanager
    async def measuring(
        self, slot: str, stable: str, share: int, routes: Mapping[str, RouteSeen]
    ) -> AsyncIterator[SpeedStep]:
        """Measure both slots while the context lasts; yield what is known meanwhile.

        A further watch of the same slots at the same share goes on with what is known.

        Args:
            slot: The candidate.
            stable: The slot that it is compared with.
            share: The candidate's share of new requests, of 100.
            routes: Where both listen.
        """
        servers = {
            Arm.BASELINE: f"http://{routes[stable].address}",
            Arm.CANDIDATE: f"http://{routes[slot].address}",
        }
        sides = SpeedSides(slot, stable, share, servers)
        step = self._steps.get((slot, share))
        if step is None or step.sides != sides:
            step = SpeedStep(sides, self._options, self._note)
            self._steps[slot, share] = step
        lost = [name for name in (stable, slot) if not routes[name].address]
        if lost:
            step.problem = f"the router doesn't say where {' and '.join(lost)} listens"
            yield step
            return
        with one_error():
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._measure, step)
                yield step
                tasks.cancel_scope.cancel()

    async def _measure(self, step: SpeedStep) -> None:
        """Measure pairs; a server that breaks is judged by what it loses, and by nothing here."""
        step.problem = ""
        if step.duel.over:
            return
        try:
            async with self._blocks() as block:
                await step.duel.measure(block)
        except SglangCiError as error:
            step.problem = str(error)
