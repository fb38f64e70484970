"""Other ways to decide from the same pairs, to lay beside the gate's.

Each takes the differences of a whole run and returns its verdict and how many pairs it took.
All hold the rule's least effect, and correct for the number of metrics.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate

from ci.gate.decide import Columns, holm, verdict
from ci.gate.rule import Rule
from ci.gate.sequential import Look
from ci.gate.signed_rank import Differences
from ci.verdict import Verdict

Rival = Callable[[Columns, Rule, int], tuple[Verdict, int]]

FIRST = 9
"""Pairs at which those who look after each pair begin to."""

BETS = (2.5, 5.0, 10.0, 20.0)
"""Bets of the e-process, in parts of a difference: its wealth is the mean of theirs."""


def fixed(columns: Columns, rule: Rule, pairs: int) -> tuple[Verdict, int]:
    """Judge by the gate's own test, once, after all pairs."""
    seen = _until(columns, pairs)
    return verdict(seen, rule, Look(pairs, rule.false_alarm, rule.miss)), pairs


def peeking(columns: Columns, rule: Rule, pairs: int) -> tuple[Verdict, int]:
    """Judge by the gate's own test after each pair, at the full level each time."""
    for count in range(FIRST, pairs + 1):
        found, _ = fixed(columns, rule, count)
        if found is not Verdict.INCONCLUSIVE:
            return found, count
    return Verdict.INCONCLUSIVE, pairs


def mean_flips(columns: Columns, rule: Rule, pairs: int) -> tuple[Verdict, int]:
    """Flip the signs of the differences themselves: the mean in place of the ranks, exactly."""
    seen = _until(columns, pairs)
    slower = holm({metric: _flips(values) for metric, values in seen.items()})
    above = {m: Differences(values).exceeds(rule.threshold) for m, values in seen.items()}
    if any(above[metric] and slower[metric] <= rule.false_alarm for metric in seen):
        return Verdict.FAILED, pairs
    below = (_flips([rule.margin - value for value in values]) for values in seen.values())
    sure = not any(above.values()) and all(p <= rule.miss for p in below)
    return Verdict.PASSED if sure else Verdict.INCONCLUSIVE, pairs


def betting(columns: Columns, rule: Rule, pairs: int) -> tuple[Verdict, int]:
    """Bet on each pair (an e-process for symmetric differences), and end at any time.

    The wealth exp(b x - b² x² / 2), multiplied over the pairs, is expected not to grow where x
    is symmetric (de la Peña 1999), so that it seldom ever exceeds one over the error rate
    (Ville's inequality), however often one looks.
    """
    slow = {metric: list(_wealth(columns[metric])) for metric in rule.metrics}
    well = {m: list(_wealth([rule.margin - x for x in columns[m]])) for m in rule.metrics}
    for count in range(2, pairs + 1):
        seen = _until(columns, count)
        above = {m: Differences(seen[m]).exceeds(rule.threshold) for m in rule.metrics}
        alarm = len(rule.metrics) / rule.false_alarm
        if any(above[m] and slow[m][count - 1] >= alarm for m in rule.metrics):
            return Verdict.FAILED, count
        if not any(above.values()) and all(
            max(well[m][:count]) >= 1 / rule.miss for m in rule.metrics
        ):
            return Verdict.PASSED, count
    return Verdict.INCONCLUSIVE, pairs


RIVALS: dict[str, Rival] = {
    "signed ranks, one look": fixed,
    "signed ranks, a look after each pair, no correction": peeking,
    "sign flips of the mean, one look": mean_flips,
    "bets (e-process), a look after each pair": betting,
}


def _until(columns: Columns, pairs: int) -> Columns:
    return {metric: values[:pairs] for metric, values in columns.items()}


def _wealth(values: Sequence[float]) -> Iterator[float]:
    """Yield the wealth after each pair: of "the differences lie above 0"."""
    for paths in zip(*(_growth(values, bet) for bet in BETS), strict=True):
        yield sum(math.exp(min(path, 700.0)) for path in paths) / len(BETS)


def _growth(values: Sequence[float], bet: float) -> Iterator[float]:
    return accumulate(bet * value - (bet * value) ** 2 / 2 for value in values)


def _flips(values: Sequence[float]) -> float:
    """Return the exact share of sign flips whose sum is at least that of `values`.

    The sums of either half are listed and laid against each other in order.
    """
    middle = len(values) // 2
    one, other = sorted(_sums(values[:middle])), sorted(_sums(values[middle:]))
    bound, count, at = sum(values) - 1e-12, 0, len(other)
    for value in one:
        while at and value + other[at - 1] >= bound:
            at -= 1
        count += len(other) - at
    return count / (len(one) * len(other))


def _sums(values: Sequence[float]) -> list[float]:
    sums = [0.0]
    for value in values:
        sums = [total + sign * value for total in sums for sign in (1, -1)]
    return sums
