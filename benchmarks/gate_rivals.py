"""Other ways to decide from the same pairs, to lay beside the gate's.

Those of `RIVALS` take the differences of a whole run and return its verdict and how many pairs it
took. All hold the rule's least effect, and correct for the number of metrics.

Those of `LIVE_RIVALS` are rules that others use, as far as pairs of one start can be put to them:
each takes the pairs of a comparison, of which it looks at the first start, and those of earlier
comparisons of equal images. None knows INCONCLUSIVE.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from statistics import fmean, stdev

from ci.gate.blocks import Pair
from ci.gate.decide import Columns, holm, verdict
from ci.gate.rule import METRICS, Rule
from ci.gate.sequential import Look
from ci.gate.signed_rank import Differences
from ci.gate.student import beyond
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


LiveRival = Callable[[Sequence[Pair], Sequence[Sequence[Pair]]], Verdict]

TENTH, HUNDREDTH = 0.10, 0.01
SIGMAS, CONFIDENT = 2.0, 0.01
"""Standard errors of vLLM's rule, and level of the tests of others."""


def ten_per_cent(pairs: Sequence[Pair], _: Sequence[Sequence[Pair]]) -> Verdict:
    """Judge as SGLang's own performance tests do: the mean may be worse by a tenth."""
    return _judged(_worse(pairs, metric) > TENTH for metric in METRICS)


def two_sigma(pairs: Sequence[Pair], _: Sequence[Sequence[Pair]]) -> Verdict:
    """Judge as vLLM's comparisons do: worse by two standard errors, and by one per cent."""
    return _judged(
        _worse(pairs, metric) > HUNDREDTH and _t(_first(pairs, metric)) > SIGMAS
        for metric in METRICS
    )


def t_test(pairs: Sequence[Pair], _: Sequence[Sequence[Pair]]) -> Verdict:
    """Judge by a paired t-test of the blocks' medians, one-sided at 1 %, of any metric."""
    values = {metric: _first(pairs, metric) for metric in METRICS}
    return _judged(beyond(_t(one), len(one) - 1) <= CONFIDENT for one in values.values())


def bencher(pairs: Sequence[Pair], earlier: Sequence[Sequence[Pair]]) -> Verdict:
    """Judge as Bencher's t-test threshold does: beyond 99 % of what earlier runs let expect."""
    return _judged(_beyond_history(pairs, earlier, metric) for metric in METRICS)


LIVE_RIVALS: dict[str, LiveRival] = {
    "SGLang's 10 %": ten_per_cent,
    "vLLM's 2 standard errors and 1 %": two_sigma,
    "t-test of medians": t_test,
    "Bencher's t-test threshold": bencher,
}


def _judged(worse: Iterable[bool]) -> Verdict:
    return Verdict.FAILED if any(worse) else Verdict.PASSED


def _first(pairs: Sequence[Pair], metric: str) -> list[float]:
    """Return the differences of the first start."""
    return [pair.difference(metric) for pair in pairs if pair.round == pairs[0].round]


def _worse(pairs: Sequence[Pair], metric: str) -> float:
    """Return by what share the candidate's mean is above the baseline's, at the first start."""
    first = [pair for pair in pairs if pair.round == pairs[0].round]
    new, old = (fmean(side[metric] for side in sides) for sides in _sides(first))
    return new / old - 1


def _sides(pairs: Sequence[Pair]) -> tuple[list[dict[str, float]], list[dict[str, float]]]:
    return [pair.candidate for pair in pairs], [pair.baseline for pair in pairs]


def _t(values: Sequence[float]) -> float:
    """Return the mean in standard errors; 0 where there is nothing to tell an error by."""
    error = stdev(values) / math.sqrt(len(values)) if len(values) > 1 else 0.0
    return fmean(values) / error if error else 0.0


def _beyond_history(pairs: Sequence[Pair], earlier: Sequence[Sequence[Pair]], metric: str) -> bool:
    """Return whether a candidate's mean lies beyond what earlier runs' means let expect."""
    means = [fmean(pair.candidate[metric] for pair in one) for one in earlier if one]
    if len(means) < 2:  # noqa: PLR2004 - no spread
        return False
    new = fmean(pair.candidate[metric] for pair in pairs if pair.round == pairs[0].round)
    spread = stdev(means) * math.sqrt(1 + 1 / len(means))
    return bool(spread) and beyond((new - fmean(means)) / spread, len(means) - 1) <= CONFIDENT


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
