"""Measures a candidate against a baseline, pair by pair, until the gate can say something.

Nothing here knows how a server was started or how load is made: a block is a function of a
URL and a seed.
"""

from __future__ import annotations

from collections.abc import Mapping
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
    duel = Duel({Arm.BASELINE: baseline, Arm.CANDIDATE: candidate}, options, watcher)
    with anyio.move_on_after(options.budget) as scope:
        await duel.measure(block)
    if scope.cancelled_caught:
        duel.cut = f"gate.budget, {options.budget:g} s, was spent"
    return duel.result()


class Duel:
    """A comparison of two servers that may be broken off, and gone on with later.

    Args:
        servers: URL of each side.
        options: How they are compared; its budget is the caller's affair.
        watcher: Who is told.

    Attributes:
        options: How they are compared.
        pairs: The pairs that count so far.
        broken: Each unusable pair so far, in one line.
        decision: The last look; None where there was none yet.
        cut: Why no further pair is measured, without a decision; empty while some may be.

    Raises:
        UsageError: The schedule can't show anything.
    """

    def __init__(
        self, servers: Mapping[Arm, str], options: Options, watcher: Watcher | None = None
    ) -> None:
        self._servers, self.options = servers, options
        self._watcher, self._plans = watcher or Watcher(), plans(options.seed)
        self._looks = options.schedule.looks(options.rule)
        self.pairs: list[Pair] = []
        self.broken: list[str] = []
        self.decision: Decision | None = None
        self._agreement = Agreement()
        self.cut = ""

    @property
    def over(self) -> bool:
        """Whether no further pair is measured."""
        looked = self.decision.look if self.decision else None
        decided = self.decision is not None and self.decision.ends
        return bool(self.cut) or decided or looked == self._looks[-1]

    async def measure(self, block: Block) -> None:
        """Measure pairs until a look ends the run, the last look is over, or it is cut.

        Where it is cancelled, the next call goes on after the last whole pair. Each look is taken
        once, and no prompts are sent twice.

        Args:
            block: Measures one block on one of the servers.

        Raises:
            ServerFault: The candidate is broken.
            CheckBroken: The baseline is broken, so nothing can be said of the candidate.
        """
        if self.over:
            return
        for plan in islice(self._plans, self.options.warmup):
            await self._results(block, plan)
        while not self.over:
            look = self._next()
            while len(self.pairs) < look.pairs:
                await self._measure_pair(block, look)
                if self.cut:
                    return
            seen = columns(self.pairs, self.options.rule.metrics)
            self.decision = decide(seen, self.options.rule, look)
            self._watcher.looked(self.decision)

    def _next(self) -> Look:
        """Return the look that comes after the last one."""
        looked = self.decision.look.pairs if self.decision else 0
        return next(look for look in self._looks if look.pairs > looked)

    def result(self) -> Comparison:
        """Return what was found so far."""
        decision, rule = self.decision, self.options.rule
        unsure = decision is not None and not decision.ends
        return Comparison(
            options=self.options,
            pairs=tuple(self.pairs),
            decision=decision,
            agreement=self._agreement,
            broken=tuple(self.broken),
            cut=self.cut,
            need=need(columns(self.pairs, rule.metrics), rule) if unsure else None,
        )

    async def _measure_pair(self, block: Block, look: Look) -> None:
        """Measure one pair; one that can't be used is told and doesn't count."""
        plan = next(self._plans)
        results = await self._results(block, plan)
        found: dict[Arm, dict[str, float]] = {}
        for arm, result in results.items():
            try:
                found[arm] = medians(result, self.options.rule.metrics)
            except ValueError as error:
                return self._break(f"{arm}, after {len(self.pairs)} pairs: {error}")
        pair = Pair(
            index=len(self.pairs),
            seed=plan.seed,
            first=plan.order[0],
            baseline=found[Arm.BASELINE],
            candidate=found[Arm.CANDIDATE],
        )
        self.pairs.append(pair)
        answers = (results[arm].answers for arm in Arm)
        self._agreement = self._agreement.with_block(plan.seed, *answers)
        return self._watcher.measured(pair, look)

    def _break(self, problem: str) -> None:
        self.broken.append(problem)
        self._watcher.broke(problem)
        if len(self.broken) > self.options.spares:
            self.cut = f"{len(self.broken)} pairs were unusable; the last: {problem}"

    async def _results(self, block: Block, plan: PairPlan) -> dict[Arm, BlockResult]:
        """Measure both blocks in their order."""
        return {arm: await self._one(block, arm, plan.seed) for arm in plan.order}

    async def _one(self, block: Block, arm: Arm, seed: int) -> BlockResult:
        try:
            return await block(self._servers[arm], seed)
        except ServerFault as error:
            if arm is Arm.CANDIDATE:
                raise
            raise no_baseline(error) from error


def no_baseline(error: ServerFault) -> CheckBroken:
    """Return the error that a baseline's fault is: nothing can be said of the candidate."""
    return CheckBroken(f"the baseline is broken: {error}", details=error.details)
