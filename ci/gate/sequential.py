"""At how many pairs a comparison may end, and what each of these looks costs.

Looking again and again at a fixed level is the surest way to a false alarm. Here each rate of
errors is a budget that the looks share: a spending function says how much of it is spent by
when (Lan and DeMets 1983; the power family of Kim and DeMets 1987), and each look tests at
what was added since the look before. A chance of error that adds up over the looks can't
exceed the budget, *whatever the dependence between them* (Bonferroni): exact in finite
samples, with no draws and no assumption on how noise develops during a run. What this costs
against boundaries that know the dependence is small, since late looks get most of the budget.

FAILED spends with the cube of the pairs (little early: only a plain slow-down ends a run
early, and nearly all power is kept for the last look), PASSED linearly (most candidates are
no slower, and half the pairs are mostly enough to show that). A tenth of both budgets is kept
for repeating an inconclusive run, whose pairs are added to those of the first.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from ci.errors import UsageError
from ci.gate.rule import Rule
from ci.gate.signed_rank import MOST_PAIRS, critical

RESERVE = 0.1
"""Share of both error rates that is kept for the repeat."""
SLOW_EXPONENT, PASS_EXPONENT = 3.0, 1.0
INTERIM = (0.5, 0.75)
"""Looks before the last of the first run, as shares of its pairs."""


@dataclass(frozen=True)
class Look:
    """One moment at which a comparison may end.

    Args:
        pairs: After how many pairs.
        alarm: Level of the test for FAILED, over all metrics; 0 where it can't end so yet.
        miss: Level of the test for PASSED, of each metric; likewise.
    """

    pairs: int
    alarm: float
    miss: float


@dataclass(frozen=True)
class Schedule:
    """How long a comparison may take.

    Args:
        pairs: Pairs of the first run.
        interim: Whether it may end early.
        repeat: Whether an inconclusive run is repeated once, with as many pairs again.
    """

    pairs: int = 24
    interim: bool = True
    repeat: bool = True

    def looks(self, rule: Rule) -> tuple[Look, ...]:
        """Return the looks in order; all levels add up to the rule's error rates.

        Raises:
            UsageError: So few pairs can never end in FAILED or PASSED, or there are too many.
        """
        most = MOST_PAIRS // (2 if self.repeat else 1)
        if self.pairs > most:
            raise UsageError(f"gate: {self.pairs} pairs; at most {most} are possible")
        least = next(n for n in range(1, most + 1) if n == most or self._can_end(n, rule))
        if self.pairs < least:
            raise UsageError(
                f"gate: {self.pairs} pairs can't show anything at these error rates, however "
                f"clear; at least {least} are needed"
            )
        return tuple(self._looks(rule))

    def _can_end(self, pairs: int, rule: Rule) -> bool:
        """Return whether the clearest differences there can be would end a first run of `pairs`."""
        looks = replace(self, pairs=pairs)._looks(rule)  # noqa: SLF001 - of our own class
        last = next(look for look in looks if look.pairs == pairs)
        return min(last.alarm, last.miss) > 0

    def _looks(self, rule: Rule) -> Iterator[Look]:
        """Yield the looks; one with too few pairs to show anything spends nothing."""
        alarm_spent = miss_spent = 0.0
        for pairs, alarm_share, miss_share in self._moments():
            alarm = rule.false_alarm * alarm_share - alarm_spent
            miss = rule.miss * miss_share - miss_spent
            alarm = alarm if critical(pairs, alarm / len(rule.metrics)) else 0.0
            miss = miss if critical(pairs, miss) else 0.0
            alarm_spent, miss_spent = alarm_spent + alarm, miss_spent + miss
            yield Look(pairs, alarm, miss)

    def _moments(self) -> Iterator[tuple[int, float, float]]:
        """Yield pairs, and the shares of both budgets that may be spent by then."""
        kept = RESERVE if self.repeat else 0.0
        for share in (*(INTERIM if self.interim else ()), 1.0):
            spent = (share**exponent for exponent in (SLOW_EXPONENT, PASS_EXPONENT))
            yield round(share * self.pairs), *((1 - kept) * part for part in spent)
        if self.repeat:
            yield round(1.5 * self.pairs), 1 - kept / 2, 1 - kept / 2
            yield 2 * self.pairs, 1.0, 1.0
