"""Measures a candidate against a baseline, pair by pair, until the gate can say something.

Nothing here knows how a server was started or how load is made: a block is a function of a
URL and a seed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice

import anyio

from ci.errors import CheckBroken, ServerFault
from ci.gate.blocks import Arm, Block, BlockResult, Pair, PairPlan, columns, medians, plans
from ci.gate.decide import Decision, decide
from ci.gate.outputs import Agreement
from ci.gate.power import Need, need
from ci.gate.rule import Rule
from ci.gate.sequential import Look, Schedule
from ci.verdict import Verdict


@dataclass(frozen=True)
class Options:
    """How a comparison is run.

    Args:
        rule: What is asked, and how often the answer may be wrong.
        schedule: How many pairs, and when it may end.
        seed: Of the prompts and the order. A server that saw a seed before has its prompts in
            its cache: take a new one for each run.
        warmup: Pairs that are measured first and thrown away.
        spares: Unusable pairs that are measured anew; one more ends the run.
        budget: Most seconds of the whole run.
        identical: Least share of identical answers; None where they are shown and not judged.
    """

    rule: Rule = field(default_factory=Rule)
    schedule: Schedule = field(default_factory=Schedule)
    seed: int = 0
    warmup: int = 1
    spares: int = 6
    budget: float = 3600.0
    identical: float | None = None


@dataclass(frozen=True)
class Comparison:
    """What a comparison found.

    Args:
        options: How it was run.
        pairs: The pairs that count, in their order.
        decision: The last look; None where there was none.
        agreement: What both said to the same prompts.
        broken: Each unusable pair, in one line.
        cut: Why it ended before its last look without a decision; empty where it didn't.
        need: What it would take, where the pairs were not enough.
    """

    options: Options
    pairs: tuple[Pair, ...]
    decision: Decision | None
    agreement: Agreement
    broken: tuple[str, ...] = ()
    cut: str = ""
    need: Need | None = None

    @property
    def verdict(self) -> Verdict:
        """What the times say: the decision's, or INCONCLUSIVE where the run was cut short."""
        return Verdict.INCONCLUSIVE if self.cut or not self.decision else self.decision.verdict


class Watcher:
    """Is told what happens during a comparison; this one does nothing with it."""

    def measured(self, pair: Pair, look: Look) -> None:
        """Take in a pair, and the look that comes next."""

    def looked(self, decision: Decision) -> None:
        """Take in what a look found."""

    def broke(self, problem: str) -> None:
        """Take in why a pair is measured anew."""


async def compare(
    block: Block,
    baseline: str,
    candidate: str,
    options: Options,
    watcher: Watcher | None = None,
) -> Comparison:
    """Compare two servers.

    Args:
        block: Measures one block on one of them.
        baseline: URL of the server that is held to be right.
        candidate: URL of the server that is asked about.
        options: How.
        watcher: Who is told.

    Raises:
        UsageError: The schedule can't show anything.
        ServerFault: The candidate is broken.
        CheckBroken: The baseline is broken, so nothing can be said of the candidate.
    """
    servers = {Arm.BASELINE: baseline, Arm.CANDIDATE: candidate}
    run = _Run(block, servers, options, watcher or Watcher())
    with anyio.move_on_after(options.budget) as scope:
        await run.measure()
    if scope.cancelled_caught:
        run.cut = f"gate.budget, {options.budget:g} s, was spent"
    return run.result()


class _Run:
    def __init__(
        self, block: Block, servers: dict[Arm, str], options: Options, watcher: Watcher
    ) -> None:
        self._block, self._servers, self._options = block, servers, options
        self._watcher, self._plans = watcher, plans(options.seed)
        self._looks = options.schedule.looks(options.rule)
        self._pairs: list[Pair] = []
        self._broken: list[str] = []
        self._decision: Decision | None = None
        self._agreement = Agreement()
        self.cut = ""

    async def measure(self) -> None:
        """Measure pairs until a look ends the run, the last look is over, or it is cut."""
        for plan in islice(self._plans, self._options.warmup):
            await self._results(plan)
        for look in self._looks:
            while len(self._pairs) < look.pairs:
                await self._measure_pair(look)
                if self.cut:
                    return
            seen = columns(self._pairs, self._options.rule.metrics)
            self._decision = decide(seen, self._options.rule, look)
            self._watcher.looked(self._decision)
            if self._decision.ends:
                return

    def result(self) -> Comparison:
        """Return what was found so far."""
        decision, rule = self._decision, self._options.rule
        unsure = decision is not None and not decision.ends
        return Comparison(
            options=self._options,
            pairs=tuple(self._pairs),
            decision=decision,
            agreement=self._agreement,
            broken=tuple(self._broken),
            cut=self.cut,
            need=need(columns(self._pairs, rule.metrics), rule) if unsure else None,
        )

    async def _measure_pair(self, look: Look) -> None:
        """Measure one pair; one that can't be used is told and doesn't count."""
        plan = next(self._plans)
        results = await self._results(plan)
        found: dict[Arm, dict[str, float]] = {}
        for arm, result in results.items():
            try:
                found[arm] = medians(result, self._options.rule.metrics)
            except ValueError as error:
                return self._break(f"{arm}, after {len(self._pairs)} pairs: {error}")
        pair = Pair(
            index=len(self._pairs),
            seed=plan.seed,
            first=plan.order[0],
            baseline=found[Arm.BASELINE],
            candidate=found[Arm.CANDIDATE],
        )
        self._pairs.append(pair)
        answers = (results[arm].answers for arm in Arm)
        self._agreement = self._agreement.with_block(plan.seed, *answers)
        return self._watcher.measured(pair, look)

    def _break(self, problem: str) -> None:
        self._broken.append(problem)
        self._watcher.broke(problem)
        if len(self._broken) > self._options.spares:
            self.cut = f"{len(self._broken)} pairs were unusable; the last: {problem}"

    async def _results(self, plan: PairPlan) -> dict[Arm, BlockResult]:
        """Measure both blocks in their order."""
        return {arm: await self._one(arm, plan.seed) for arm in plan.order}

    async def _one(self, arm: Arm, seed: int) -> BlockResult:
        try:
            return await self._block(self._servers[arm], seed)
        except ServerFault as error:
            if arm is Arm.CANDIDATE:
                raise
            raise no_baseline(error) from error


def no_baseline(error: ServerFault) -> CheckBroken:
    """Return the error that a baseline's fault is: nothing can be said of the candidate."""
    return CheckBroken(f"the baseline is broken: {error}", details=error.details)
