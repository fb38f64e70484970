"""A comparison of two servers as a stage of a run.

Where both sides can be started anew the images are judged: what is unclear costs fresh starts of
both. Otherwise the verdict is on two processes, as nothing can be started anew.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial

from ci.gate import self_test, twins
from ci.gate.blocks import Arm, Pair, write_pairs
from ci.gate.compare import Comparison, compare, compare_rounds
from ci.gate.decide import Decision
from ci.gate.known import keep, place_of
from ci.gate.measured import Watcher
from ci.gate.result import result_of
from ci.gate.sequential import Look
from ci.gate.sides import BOOTS, Contest, GateSide, fresh_round, staying
from ci.gate.words import percent
from ci.report.progress import Progress
from ci.stages import StageResult, Stages, Tell

NAME, SELF_TEST = "compare", "compare self-test"
PAIRS = "pairs.jsonl"
"""Every pair of blocks of a comparison, beside its report."""
TWINS = "twins.jsonl"
"""The same of fresh starts of one image, where the self-test starts them."""


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
        return self.boots or (not self.baseline.stays and self.contest.options.restarts)

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
        if options.restarts and not any(side.stays for side in sides):
            fresh = partial(fresh_round, self.contest, stages, sides)
            return await compare_rounds(fresh, options, told)
        async with staying(self.contest, stages, sides) as at:
            return await compare(
                at.block, at.baseline, at.candidate, options, told, settle=at.settle
            )


async def proof(
    side: GateSide, twin: GateSide | None, contest: Contest, stages: Stages, tell: Tell
) -> StageResult:
    """Try the gate on servers of which it is known how much slower they are."""
    sides, told = (side, twin) if twin else (side,), Teller(stages.progress)
    async with staying(contest, stages, sides) as at:
        found = await self_test.self_test(
            at.block, at.baseline, contest.options, twin=at.candidate, watcher=told
        )
    write_pairs(stages.folder / PAIRS, found.equal.pairs)
    result = self_test.result_of(found, tell)
    if not any(one.stays for one in sides):
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
