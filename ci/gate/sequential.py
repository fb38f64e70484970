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

Where both sides can be started anew, the repeat is more *rounds*, each with a fresh start of both
and half as many pairs. A quarter of what is left of the budget for PASSED goes to each: most
images are no slower and show that soon. A round in which not even equal times could pass, as
starts are known to differ too much, spends nothing. FAILED spends with the square of the rounds
and not before `LEAST_ROUNDS`: what lives as long as one process does must never be called the
image's.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from ci.errors import UsageError
from ci.gate.rule import Rule
from ci.gate.signed_rank import MOST_PAIRS, critical
from ci.gate.starts import StartEffect
from ci.gate.student import quantile

RESERVE = 0.1
"""Share of both error rates that is kept for the repeat."""
SLOW_EXPONENT, PASS_EXPONENT = 3.0, 1.0
INTERIM = (0.5, 0.75)
"""Looks before the last of the first run, as shares of its pairs."""
LEAST_ROUNDS = 3
"""Fresh starts of both sides before an image may be called slower."""
LEAST_PAIRS = 6
"""Pairs of a round below which its own noise isn't known."""
ROUND_EXPONENT = 2.0
"""By which power of the rounds FAILED spends."""
ROUND_SHARE = 0.25
"""Share of what is left of the budget for PASSED that a round spends."""


@dataclass(frozen=True)
class Look:
    """One moment at which a comparison may end.

    Args:
        pairs: After how many pairs of its round.
        alarm: Level of the test for FAILED, over all metrics; 0 where it can't end so yet.
        miss: Level of the test for PASSED, of each metric; likewise.
        rounds: How many starts of both sides there were by then, this one included.
    """

    pairs: int
    alarm: float
    miss: float
    rounds: int = 1


@dataclass(frozen=True)
class Schedule:
    """How long a comparison may take.

    Args:
        pairs: Pairs of the first run.
        interim: Whether it may end early.
        repeat: Whether an inconclusive run is repeated: with as many pairs again, or in rounds.
        rounds: Most starts of both sides; 1 where nothing can be started anew. From
            `LEAST_ROUNDS` on it is the images that are judged, and no longer two processes.
    """

    pairs: int = 24
    interim: bool = True
    repeat: bool = True
    rounds: int = 1

    @property
    def restarts(self) -> bool:
        """Whether an unclear case costs fresh starts."""
        return self.repeat and self.rounds >= LEAST_ROUNDS

    @property
    def round_pairs(self) -> int:
        """Pairs of a round whose starts are not the first."""
        return max(LEAST_PAIRS, round(self.pairs / 2))

    def looks(self, rule: Rule, effect: StartEffect | None = None) -> tuple[Look, ...]:
        """Return the looks in order; all levels add up to the rule's error rates.

        Args:
            rule: The rates.
            effect: What is known beforehand of starts; matters to rounds alone.

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
        return tuple(self._fresh(rule, effect) if self.restarts else self._looks(rule))

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

    def _fresh(self, rule: Rule, effect: StartEffect | None) -> Iterator[Look]:
        """Yield the looks of rounds: those of the first, and one at the end of each other."""
        missed = alarmed = 0.0
        for share in (*(INTERIM if self.interim else ()), 1.0):
            pairs, miss = round(share * self.pairs), ROUND_SHARE * share * rule.miss - missed
            miss = miss if critical(pairs, miss) and _possible(miss, 1, rule, effect) else 0.0
            missed += miss
            yield Look(pairs, 0.0, miss)
        for number in range(2, self.rounds + 1):
            miss = (rule.miss - missed) * (1.0 if number == self.rounds else ROUND_SHARE)
            miss = miss if _possible(miss, number, rule, effect) else 0.0
            share = (number / self.rounds) ** ROUND_EXPONENT if number >= LEAST_ROUNDS else 0.0
            alarm = rule.false_alarm * share - alarmed
            missed, alarmed = missed + miss, alarmed + alarm
            yield Look(self.round_pairs, alarm, miss, number)


def _possible(level: float, rounds: int, rule: Rule, effect: StartEffect | None) -> bool:
    """Return whether equal times could pass, if pairs had no noise at all."""
    if effect is None:
        return True
    apart = max(effect.apart(metric) for metric in rule.metrics) / math.sqrt(rounds)
    return quantile(level, effect.freedom) * apart < rule.margin
