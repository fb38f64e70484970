"""Measures a candidate against a baseline, pair by pair, until the gate can say something.

Nothing here knows how a server was started or how load is made: a block is a function of a
URL and a seed, and a round is a context in which both sides run since a start of their own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import groupby, islice

import anyio

from ci.errors import CheckBroken, ServerFault
from ci.gate.blocks import (
    Arm,
    Block,
    BlockResult,
    Pair,
    PairPlan,
    columns,
    medians,
    plans,
    rounds_of,
)
from ci.gate.decide import Decision, decide, decide_rounds
from ci.gate.machine import Settle
from ci.gate.outputs import Agreement
from ci.gate.power import Need, need
from ci.gate.rule import Rule
from ci.gate.sequential import Look, Schedule
from ci.gate.starts import StartEffect
from ci.verdict import Verdict


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


Fresh = Callable[[int], AbstractAsyncContextManager[Running]]
"""Has both sides run for a round, counted from 1; each round but the first starts them anew."""


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


@dataclass(frozen=True)
class Comparison:
    """What a comparison found.

    Args:
        options: How it was run.
        pairs: The pairs that count, in their order.
        decision: The last look; None where there was none.
        agreement: What both said to the same prompts.
        broken: Each unusable pair, in one line.
        disturbed: What else took the machine, of each pair that was measured anew for it.
        counted: The same of pairs that count all the same, since too many were disturbed.
        waited: Seconds that were waited for a quiet machine.
        cut: Why it ended before its last look without a decision; empty where it didn't.
        need: What it would take, where the pairs were not enough.
        processes: What the last look says of these two processes alone, where that isn't the
            question and nothing was started anew.
    """

    options: Options
    pairs: tuple[Pair, ...]
    decision: Decision | None
    agreement: Agreement
    broken: tuple[str, ...] = ()
    disturbed: tuple[str, ...] = ()
    counted: tuple[str, ...] = ()
    waited: float = 0.0
    cut: str = ""
    need: Need | None = None
    processes: Decision | None = None

    @property
    def rounds(self) -> int:
        """How many starts of both sides there were."""
        return max((pair.round for pair in self.pairs), default=0)

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
    *,
    settle: Settle | None = None,
) -> Comparison:
    """Compare two servers that stay up.

    Args:
        block: Measures one block on one of them.
        baseline: URL of the server that is held to be right.
        candidate: URL of the server that is asked about.
        options: How.
        watcher: Who is told.
        settle: Waits for a quiet machine; None where nobody can tell.

    Raises:
        UsageError: The schedule can't show anything.
        ServerFault: The candidate is broken.
        CheckBroken: The baseline is broken, so nothing can be said of the candidate.
    """

    @asynccontextmanager
    async def staying(_: int) -> AsyncIterator[Running]:
        yield Running(block, baseline, candidate, settle)

    return await compare_rounds(staying, options.staying(), watcher)


async def compare_rounds(
    fresh: Fresh, options: Options, watcher: Watcher | None = None
) -> Comparison:
    """Compare two sides that can be started anew: what is unclear costs more rounds.

    Args:
        fresh: Starts both sides for a round; it raises what `compare` does.
        options: How.
        watcher: Who is told.

    Raises:
        UsageError: The schedule can't show anything.
        ServerFault: The candidate is broken.
        CheckBroken: The baseline is broken, so nothing can be said of the candidate.
    """
    run = _Run(fresh, options, watcher or Watcher())
    with anyio.CancelScope() as scope:
        await run.measure(scope)
    if scope.cancelled_caught:
        run.cut = f"gate.budget, {options.budget:g} s, was spent"
    return run.result()


class _Run:
    def __init__(self, fresh: Fresh, options: Options, watcher: Watcher) -> None:
        self._fresh, self._options = fresh, options
        self._watcher, self._plans = watcher, plans(options.seed)
        self._looks = options.looks()
        self._pairs: list[Pair] = []
        self._broken: list[str] = []
        self._disturbed: list[str] = []
        self._counted: list[str] = []
        self._waited = 0.0
        self._decision: Decision | None = None
        self._agreement = Agreement()
        self.cut = ""

    async def measure(self, scope: anyio.CancelScope) -> None:
        """Measure rounds until a look ends the run, the last look is over, or it is cut.

        Args:
            scope: Gets the run's deadline once both sides run for the first time.
        """
        last = self._looks[-1].rounds
        for number, looks in groupby(self._looks, key=lambda look: look.rounds):
            async with self._fresh(number) as servers:
                if number == 1:
                    scope.deadline = anyio.current_time() + self._options.budget
                await self._round(servers, tuple(looks), more=number < last)
            if self.cut or (self._decision and self._decision.ends):
                return

    async def _round(self, servers: Running, looks: Sequence[Look], *, more: bool) -> None:
        """Measure one round; a suspicious one only as far as a fresh start can't tell more."""
        begin = len(self._pairs)
        for plan in islice(self._plans, self._options.warmup):
            await self._results(servers, plan)
        for look in looks:
            while len(self._pairs) - begin < look.pairs:
                await self._measure_pair(servers, look)
                if self.cut:
                    return
            self._decision = decision = self._look(look)
            self._watcher.looked(decision)
            if decision.ends or (more and decision.suspicious(self._options.rule)):
                return

    def _look(self, look: Look) -> Decision:
        rule, effect = self._options.rule, self._options.effect
        if effect is None:
            return decide(columns(self._pairs, rule.metrics), rule, look)
        return decide_rounds(rounds_of(self._pairs, rule.metrics), rule, look, effect)

    def result(self) -> Comparison:
        """Return what was found so far."""
        decision, rule, options = self._decision, self._options.rule, self._options
        unsure = decision is not None and not decision.ends
        seen = columns(self._pairs, rule.metrics)
        alone = decision is not None and options.effect is not None and not options.restarts
        return Comparison(
            options=options,
            pairs=tuple(self._pairs),
            decision=decision,
            agreement=self._agreement,
            broken=tuple(self._broken),
            disturbed=tuple(self._disturbed),
            counted=tuple(self._counted),
            waited=self._waited,
            cut=self.cut,
            need=need(seen, rule) if unsure and not options.restarts else None,
            processes=decide(seen, rule, decision.look) if decision and alone else None,
        )

    async def _measure_pair(self, servers: Running, look: Look) -> None:
        """Measure one pair; one that can't be used is told and doesn't count."""
        plan = next(self._plans)
        results = await self._results(servers, plan)
        disturbance = "; ".join(
            f"{arm}, after {len(self._pairs)} pairs: {result.disturbance}"
            for arm, result in results.items()
            if result.disturbance
        )
        if disturbance and len(self._disturbed) < self._options.spares:
            return await self._set_aside(servers, disturbance)
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
            round=look.rounds,
        )
        self._pairs.append(pair)
        self._counted += [disturbance] if disturbance else []
        answers = (results[arm].answers for arm in Arm)
        self._agreement = self._agreement.with_block(plan.seed, *answers)
        return self._watcher.measured(pair, look)

    async def _set_aside(self, servers: Running, disturbance: str) -> None:
        """Wait for a quiet machine in place of counting a pair against a server."""
        self._disturbed.append(disturbance)
        self._watcher.broke(f"other work on this machine: {disturbance}")
        if servers.settle and (left := self._options.wait - self._waited) > 0:
            self._waited += await servers.settle(left)

    def _break(self, problem: str) -> None:
        self._broken.append(problem)
        self._watcher.broke(problem)
        if len(self._broken) > self._options.spares:
            self.cut = f"{len(self._broken)} pairs were unusable; the last: {problem}"

    async def _results(self, servers: Running, plan: PairPlan) -> dict[Arm, BlockResult]:
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
