"""Pairs of blocks as they are measured, and what became of each: the books of a comparison."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import islice

from ci.errors import CheckBroken, ServerFault
from ci.gate.blocks import Arm, Block, BlockResult, Pair, PairPlan, medians, plans
from ci.gate.decide import Decision
from ci.gate.machine import Settle
from ci.gate.outputs import Agreement
from ci.gate.rule import Rule
from ci.gate.sequential import Look, Schedule
from ci.gate.starts import StartEffect


@dataclass(frozen=True)
class Running:
    """Both sides of one round.

    Args:
        block: Measures a block on one of them.
        baseline: What `block` calls the baseline: mostly its URL.
        candidate: What it calls the candidate.
        settle: Waits for a quiet machine; None where nobody can tell.
    """

    block: Block
    baseline: str
    candidate: str
    settle: Settle | None = None


@dataclass(frozen=True)
class Options:
    """How a comparison is run.

    Args:
        rule: What is asked, and how often the answer may be wrong.
        schedule: How many pairs, and when it may end.
        seed: Of the prompts and the order. A server that saw a seed before has its prompts in
            its cache: take a new one for each run.
        warmup: Pairs that are measured first and thrown away.
        spares: Unusable pairs that are measured anew; one more ends the run. As many pairs
            during which others took the machine are measured anew besides; more of these count.
        wait: Most seconds that are waited for a quiet machine, in all.
        budget: Most seconds of the whole run, from the first round on.
        identical: Least share of identical answers; None where they are shown and not judged.
        effect: What is known beforehand of how two starts of one image differ; None where these
            two processes are asked about, or where each block has a start of its own.
    """

    rule: Rule = field(default_factory=Rule)
    schedule: Schedule = field(default_factory=Schedule)
    seed: int = 0
    warmup: int = 1
    spares: int = 6
    wait: float = 120.0
    budget: float = 3600.0
    identical: float | None = None
    effect: StartEffect | None = None

    def looks(self) -> tuple[Look, ...]:
        """Return when it may end.

        Raises:
            UsageError: The schedule can't show anything.
        """
        return self.schedule.looks(self.rule, self.effect)

    def staying(self) -> Options:
        """Return the same for servers that stay up: nothing can be started anew."""
        return replace(self, schedule=replace(self.schedule, rounds=1))

    def of_processes(self) -> Options:
        """Return the same about two processes, whatever else their images' starts may give."""
        return replace(self.staying(), effect=None)

    @property
    def restarts(self) -> bool:
        """Whether an unclear case costs fresh starts."""
        return self.schedule.restarts and self.effect is not None


class Watcher:
    """Is told what happens during a comparison; this one does nothing with it."""

    def measured(self, pair: Pair, look: Look) -> None:
        """Take in a pair, and the look that comes next."""

    def looked(self, decision: Decision) -> None:
        """Take in what a look found."""

    def broke(self, problem: str) -> None:
        """Take in why a pair is measured anew."""


class Measured:
    """Measures pairs, and keeps what became of each.

    Args:
        options: How a comparison is run.
        watcher: Who is told.

    Attributes:
        pairs: Those that count so far.
        broken: Each unusable pair so far, in one line.
        disturbed: What else took the machine, of each pair that was measured anew for it.
        counted: The same of pairs that count all the same, since too many were disturbed.
        waited: Seconds that were waited for a quiet machine.
        cut: Why no further pair is measured; empty while some may be.
        agreement: What both said to the same prompts.
    """

    def __init__(self, options: Options, watcher: Watcher) -> None:
        self._options, self._watcher = options, watcher
        self._plans = plans(options.seed)
        self.pairs: list[Pair] = []
        self.broken: list[str] = []
        self.disturbed: list[str] = []
        self.counted: list[str] = []
        self.waited = 0.0
        self.cut = ""
        self.agreement = Agreement()

    async def warm_up(self, servers: Running) -> None:
        """Measure the pairs that are thrown away."""
        for plan in islice(self._plans, self._options.warmup):
            await _results(servers, plan)

    async def measure(self, servers: Running, look: Look) -> None:
        """Measure one pair, on the way to a look; one that can't be used doesn't count.

        Raises:
            ServerFault: The candidate is broken.
            CheckBroken: The baseline is broken, so nothing can be said of the candidate.
        """
        plan = next(self._plans)
        results = await _results(servers, plan)
        disturbance = "; ".join(
            f"{arm}, after {len(self.pairs)} pairs: {result.disturbance}"
            for arm, result in results.items()
            if result.disturbance
        )
        if disturbance and len(self.disturbed) < self._options.spares:
            return await self._set_aside(servers, disturbance)
        found: dict[Arm, dict[str, float]] = {}
        for arm, result in results.items():
            try:
                found[arm] = medians(result, self._options.rule.metrics)
            except ValueError as error:
                return self._break(f"{arm}, after {len(self.pairs)} pairs: {error}")
        pair = Pair(
            index=len(self.pairs),
            seed=plan.seed,
            first=plan.order[0],
            baseline=found[Arm.BASELINE],
            candidate=found[Arm.CANDIDATE],
            round=look.rounds,
        )
        self.pairs.append(pair)
        self.counted += [disturbance] if disturbance else []
        answers = (results[arm].answers for arm in Arm)
        self.agreement = self.agreement.with_block(plan.seed, *answers)
        return self._watcher.measured(pair, look)

    async def _set_aside(self, servers: Running, disturbance: str) -> None:
        """Wait for a quiet machine in place of counting a pair against a server."""
        self.disturbed.append(disturbance)
        self._watcher.broke(f"other work on this machine: {disturbance}")
        if servers.settle and (left := self._options.wait - self.waited) > 0:
            self.waited += await servers.settle(left)

    def _break(self, problem: str) -> None:
        self.broken.append(problem)
        self._watcher.broke(problem)
        if len(self.broken) > self._options.spares:
            self.cut = f"{len(self.broken)} pairs were unusable; the last: {problem}"


async def _results(servers: Running, plan: PairPlan) -> dict[Arm, BlockResult]:
    """Measure both blocks in their order."""
    return {arm: await _one(servers, arm, plan.seed) for arm in plan.order}


async def _one(servers: Running, arm: Arm, seed: int) -> BlockResult:
    name = servers.candidate if arm is Arm.CANDIDATE else servers.baseline
    try:
        return await servers.block(name, seed)
    except ServerFault as error:
        if arm is Arm.CANDIDATE:
            raise
        raise no_baseline(error) from error


def no_baseline(error: ServerFault) -> CheckBroken:
    """Return the error that a baseline's fault is: nothing can be said of the candidate."""
    return CheckBroken(f"the baseline is broken: {error}", details=error.details)
