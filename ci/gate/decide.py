"""One look at the differences: is a metric slower, not slower, or can't that be said yet.

A metric FAILED where the exact one-sided test says that it is slower (by more than a rule allows,
where it allows something), at the look's level and
after Holm's correction over the metrics, *and* the estimate exceeds the least effect. It
PASSED where the same test, turned round, rules out that it is slower by the slow-down that
must not pass, *and* the estimate doesn't exceed the least effect. Everything else is
INCONCLUSIVE: absence of evidence is never a pass. Holm (1979) keeps the chance of any false
FAILED; PASSED needs no correction, since every metric must pass (Berger 1982).
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ci.gate.rounds import RoundDifferences
from ci.gate.rule import Rule
from ci.gate.sequential import Look
from ci.gate.signed_rank import Differences
from ci.gate.starts import StartEffect
from ci.verdict import Verdict, judge

_LARGEST = math.log(sys.float_info.max)

Columns = Mapping[str, Sequence[float]]
"""Logarithms of candidate over baseline, of each metric, one a pair."""


class Sample(Protocol):
    """What one metric's differences are asked; shifts are logarithms of ratios."""

    @property
    def estimate(self) -> float:
        """The difference."""

    def p_above(self, shift: float = 0.0) -> float:
        """Return the p-value of "it lies above `shift`"."""

    def p_below(self, shift: float = 0.0) -> float:
        """Return the p-value of "it lies below `shift`"."""

    def exceeds(self, shift: float) -> bool:
        """Return whether the estimate is above `shift`."""

    def bounds(self, level: float) -> tuple[float, float]:
        """Return the lowest and the highest difference that isn't rejected, each at `level`."""


@dataclass(frozen=True)
class MetricFinding:
    """What one look found in one metric.

    Args:
        metric: Its name.
        verdict: PASSED, FAILED or INCONCLUSIVE.
        ratio: Candidate's time over baseline's, by Hodges and Lehmann.
        low: Bound below which the ratio isn't, at the power of the rule and over all looks.
        high: Bound above which it isn't, likewise; infinite where nothing is known.
        p_slower: Holm's p-value of "slower by more than is allowed".
        p_faster: Holm's p-value of "faster".
        p_bounded: p-value of "slower by less than what must not pass".
        faster: Whether the candidate is faster, by the very rule that makes one slower.
    """

    metric: str
    verdict: Verdict
    ratio: float
    low: float
    high: float
    p_slower: float
    p_faster: float
    p_bounded: float
    faster: bool


@dataclass(frozen=True)
class Decision:
    """What one look found."""

    look: Look
    findings: tuple[MetricFinding, ...]

    @property
    def verdict(self) -> Verdict:
        """FAILED if any metric did, PASSED if all did."""
        return judge(finding.verdict for finding in self.findings)

    @property
    def ends(self) -> bool:
        """Whether the comparison is over."""
        return self.verdict is not Verdict.INCONCLUSIVE

    def suspicious(self, rule: Rule) -> bool:
        """Return whether a metric's estimate lies above the least effect, so that it can't pass."""
        return any(finding.ratio > 1 + rule.least for finding in self.findings)


def decide(columns: Columns, rule: Rule, look: Look) -> Decision:
    """Look at the differences of `look.pairs` pairs, and at these two processes alone."""
    return _decide(_pairs(columns, rule), rule, look)


def decide_rounds(
    rounds: Sequence[Columns], rule: Rule, look: Look, effect: StartEffect
) -> Decision:
    """Look at the differences of rounds, each with a start of its own: at the images.

    Args:
        rounds: The differences of each round's pairs, in their order.
        rule: What is asked.
        look: At what levels.
        effect: What is known beforehand of how a start differs from another one.
    """
    return _decide(_started(rounds, rule, effect), rule, look)


def _pairs(columns: Columns, rule: Rule) -> dict[str, Sample]:
    return {metric: Differences(columns[metric]) for metric in rule.metrics}


def _started(rounds: Sequence[Columns], rule: Rule, effect: StartEffect) -> dict[str, Sample]:
    return {
        metric: RoundDifferences(
            [one[metric] for one in rounds], effect.apart(metric), effect.freedom
        )
        for metric in rule.metrics
    }


def _decide(samples: Mapping[str, Sample], rule: Rule, look: Look) -> Decision:
    verdicts = _verdicts(samples, rule, look)
    slower = _slower(samples, rule)
    faster = holm({metric: sample.p_below() for metric, sample in samples.items()})
    return Decision(
        look,
        tuple(
            _finding(metric, sample, verdicts[metric], (slower[metric], faster[metric]), rule, look)
            for metric, sample in samples.items()
        ),
    )


def verdict(columns: Columns, rule: Rule, look: Look) -> Verdict:
    """Return the verdict of `decide` alone, for the thousands of looks of a simulation."""
    return judge(_verdicts(_pairs(columns, rule), rule, look).values())


def rounds_verdict(
    rounds: Sequence[Columns], rule: Rule, look: Look, effect: StartEffect
) -> tuple[Verdict, bool]:
    """Return the verdict of `decide_rounds` alone, likewise, and whether it is suspicious."""
    samples = _started(rounds, rule, effect)
    found = judge(_verdicts(samples, rule, look).values())
    return found, any(sample.exceeds(rule.threshold) for sample in samples.values())


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Return Holm's p-values: each may be held against the level that all share."""
    adjusted: dict[str, float] = {}
    worst = 0.0
    for rank, metric in enumerate(sorted(p_values, key=p_values.__getitem__)):
        worst = max(worst, min(1.0, (len(p_values) - rank) * p_values[metric]))
        adjusted[metric] = worst
    return {metric: adjusted[metric] for metric in p_values}


def _verdicts(samples: Mapping[str, Sample], rule: Rule, look: Look) -> dict[str, Verdict]:
    slower = _slower(samples, rule)
    return {
        metric: _verdict(sample, slower[metric], rule, look) for metric, sample in samples.items()
    }


def _slower(samples: Mapping[str, Sample], rule: Rule) -> dict[str, float]:
    """Return Holm's p-values of "slower by more than is allowed"."""
    return holm({metric: sample.p_above(rule.tolerance) for metric, sample in samples.items()})


def _verdict(sample: Sample, p_slower: float, rule: Rule, look: Look) -> Verdict:
    if sample.exceeds(rule.threshold):
        return Verdict.FAILED if p_slower <= look.alarm else Verdict.INCONCLUSIVE
    bounded = sample.p_below(rule.margin) <= look.miss
    return Verdict.PASSED if bounded else Verdict.INCONCLUSIVE


def _finding(
    metric: str,
    sample: Sample,
    verdict: Verdict,
    p_values: tuple[float, float],
    rule: Rule,
    look: Look,
) -> MetricFinding:
    low, high = sample.bounds(look.miss)
    p_slower, p_faster = p_values
    return MetricFinding(
        metric=metric,
        verdict=verdict,
        ratio=_ratio(sample.estimate),
        low=_ratio(low),
        high=_ratio(high),
        p_slower=p_slower,
        p_faster=p_faster,
        p_bounded=sample.p_below(rule.margin),
        faster=p_faster <= look.alarm and sample.estimate < -rule.threshold,
    )


def _ratio(logarithm: float) -> float:
    return math.inf if logarithm > _LARGEST else math.exp(logarithm)
