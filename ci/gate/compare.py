"""Measures a candidate against a baseline, pair by pair, until the gate can say something.

Nothing here knows how a server was started or how load is made: a block is a function of a
URL and a seed, and a round is a context in which both sides run since a start of their own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from itertools import groupby

import anyio

from ci.gate.blocks import Block, Pair, columns, rounds_of
from ci.gate.decide import Decision, decide, decide_rounds
from ci.gate.machine import Settle
from ci.gate.measured import Measured, Options, Running, Watcher
from ci.gate.outputs import Agreement
from ci.gate.power import Need, need
from ci.gate.sequential import Look
from ci.verdict import Verdict

Fresh = Callable[[int], AbstractAsyncContextManager[Running]]
"""Has both sides run for a round, counted from 1; each round but the first starts them anew."""


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
        run.measured.cut = f"gate.budget, {options.budget:g} s, was spent"
    return run.result()


class _Run:
    def __init__(self, fresh: Fresh, options: Options, watcher: Watcher) -> None:
        self._fresh, self._options, self._watcher = fresh, options, watcher
        self._looks, self.measured = options.looks(), Measured(options, watcher)
        self._decision: Decision | None = None

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
            if self.measured.cut or (self._decision and self._decision.ends):
                return

    async def _round(self, servers: Running, looks: Sequence[Look], *, more: bool) -> None:
        """Measure one round; a suspicious one only as far as a fresh start can't tell more."""
        begin = len(self.measured.pairs)
        await self.measured.warm_up(servers)
        for look in looks:
            while len(self.measured.pairs) - begin < look.pairs:
                await self.measured.measure(servers, look)
                if self.measured.cut:
                    return
            self._decision = decision = self._look(look)
            self._watcher.looked(decision)
            if decision.ends or (more and decision.suspicious(self._options.rule)):
                return

    def _look(self, look: Look) -> Decision:
        rule, effect, pairs = self._options.rule, self._options.effect, self.measured.pairs
        if effect is None:
            return decide(columns(pairs, rule.metrics), rule, look)
        return decide_rounds(rounds_of(pairs, rule.metrics), rule, look, effect)

    def result(self) -> Comparison:
        """Return what was found so far."""
        decision, rule, options = self._decision, self._options.rule, self._options
        unsure = decision is not None and not decision.ends
        seen = columns(self.measured.pairs, rule.metrics)
        alone = decision is not None and options.effect is not None and not options.restarts
        return Comparison(
            options=options,
            pairs=tuple(self.measured.pairs),
            decision=decision,
            agreement=self.measured.agreement,
            broken=tuple(self.measured.broken),
            disturbed=tuple(self.measured.disturbed),
            counted=tuple(self.measured.counted),
            waited=self.measured.waited,
            cut=self.measured.cut,
            need=need(seen, rule) if unsure and not options.restarts else None,
            processes=decide(seen, rule, decision.look) if decision and alone else None,
        )
