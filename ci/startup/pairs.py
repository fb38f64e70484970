"""Decides from paired starts whether a phase of start-up has become slower.

A pair is one start of each side, in random order, one right after the other. What the gate
does with blocks of load it does here with starts: exact signed-rank tests of the pairs'
differences with Holm's correction over all phases, a least effect, and INCONCLUSIVE where
neither is shown.

A share alone would be no least effect here: a phase of 0.1 s that doubles matters to nobody.
So a constant is added to both sides before their logarithm is taken (a *started* logarithm,
Tukey 1977), of such a size that `floor` seconds are the least effect of a phase that takes no
time, and `floor` plus the share that of any other. Swapping the sides still only turns the
sign, which is all that the test's exactness needs.

Phases in which no start of either side took longer than `floor` can't have changed by more
and aren't compared. That choice is blind to which side is which, so it costs the test nothing.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ci.errors import UsageError
from ci.gate.decide import Decision, MetricFinding, decide
from ci.gate.power import Need, need
from ci.gate.rule import Rule
from ci.gate.sequential import Look
from ci.gate.signed_rank import MOST_PAIRS, critical
from ci.report.model import Case
from ci.verdict import Outcome, Verdict


@dataclass(frozen=True)
class Starts:
    """One pair: the seconds of each phase of one start of either side."""

    baseline: Mapping[str, float]
    candidate: Mapping[str, float]


@dataclass(frozen=True)
class Slack:
    """When a phase is too slow, and how often that answer may be wrong.

    Args:
        growth: Share of the baseline's seconds that must not pass; half of it is the least
            effect.
        floor: Seconds below which a change never matters.
        false_alarm: Highest chance of FAILED for an equal candidate, over all phases.
        power: Chance with which growth by `growth` and twice the floor must not pass.
    """

    growth: float = 0.10
    floor: float = 0.5
    false_alarm: float = 0.01
    power: float = 0.95

    def rule(self, phases: tuple[str, ...]) -> Rule:
        """Return the gate's rule for these phases."""
        return Rule(self.growth, self.growth / 2, self.false_alarm, self.power, phases)

    @property
    def constant(self) -> float:
        """Seconds that are added to both sides before they are compared as a ratio."""
        return 2 * self.floor / self.growth

    def difference(self, old: float, new: float) -> float:
        """Return the logarithm of the ratio, the constant added."""
        return math.log(new + self.constant) - math.log(old + self.constant)

    def seconds(self, ratio: float, typical: float) -> float:
        """Return the change in seconds that such a ratio means for a phase of `typical` s."""
        return (ratio - 1) * (typical + self.constant)


def least_pairs(rule: Rule) -> int:
    """Return with how many pairs both FAILED and PASSED are possible."""
    alarm = rule.false_alarm / len(rule.metrics)
    possible = (
        pairs
        for pairs in range(1, MOST_PAIRS)
        if critical(pairs, alarm) and critical(pairs, rule.miss)
    )
    return next(possible, MOST_PAIRS)


def compared(pairs: Sequence[Starts], slack: Slack) -> tuple[str, ...]:
    """Return the phases that every start showed and that took longer than the floor in one."""
    sides = [side for pair in pairs for side in (pair.baseline, pair.candidate)]
    return tuple(
        name
        for name in (sides[0] if sides else ())
        if all(name in side for side in sides) and max(side[name] for side in sides) > slack.floor
    )


def decided(pairs: Sequence[Starts], slack: Slack) -> Decision | None:
    """Return what the pairs show of each phase; None where no phase can be compared.

    Args:
        pairs: At most `MOST_PAIRS`, in the order in which they were measured.
        slack: When a phase is too slow.

    Raises:
        UsageError: There are more pairs than that.
    """
    if len(pairs) > MOST_PAIRS:
        raise UsageError(f"{len(pairs)} pairs of starts; at most {MOST_PAIRS} are possible")
    if not (phases := compared(pairs, slack)):
        return None
    rule = slack.rule(phases)
    look = Look(len(pairs), rule.false_alarm, rule.miss)
    return decide(_columns(pairs, slack, phases), rule, look)


def paired_cases(pairs: Sequence[Starts], slack: Slack) -> tuple[Case, ...]:
    """Return a case for each phase: slower, not slower, or what it would take to say so.

    The arguments and errors are those of `decided`.
    """
    decision = decided(pairs, slack)
    if decision is None:
        message = f"no phase took over {slack.floor:g} s in any of {len(pairs)} pairs of starts"
        return (Case(name="baseline", outcome=Outcome.INCONCLUSIVE, message=message),)
    phases = tuple(finding.metric for finding in decision.findings)
    rule = slack.rule(phases)
    few, needed = least_pairs(rule), None
    if decision.verdict is Verdict.INCONCLUSIVE and len(pairs) >= few:
        needed = need(_columns(pairs, slack, phases), rule)
    teller = _Teller(pairs, slack, few, needed)
    return tuple(map(teller.case, decision.findings))


def _columns(
    pairs: Sequence[Starts], slack: Slack, phases: Sequence[str]
) -> dict[str, list[float]]:
    return {
        name: [slack.difference(pair.baseline[name], pair.candidate[name]) for pair in pairs]
        for name in phases
    }


@dataclass(frozen=True)
class _Teller:
    pairs: Sequence[Starts]
    slack: Slack
    few: int
    needed: Need | None

    def case(self, finding: MetricFinding) -> Case:
        """Return the case of one phase."""
        old = statistics.median(pair.baseline[finding.metric] for pair in self.pairs)
        new = statistics.median(pair.candidate[finding.metric] for pair in self.pairs)
        seen = f"{old:.2f} s to {new:.2f} s, {self._change(finding, old)}, {len(self.pairs)} pairs"
        return Case(
            name=finding.metric,
            outcome=Outcome(finding.verdict.value),
            message=self._message(finding, seen, old),
        )

    def _message(self, finding: MetricFinding, seen: str, typical: float) -> str:
        if finding.verdict is Verdict.FAILED:
            return f"slower: {seen}, p = {finding.p_slower:.2g}"
        if finding.verdict is Verdict.PASSED:
            bound = self.slack.seconds(1 + self.slack.growth, typical)
            return f"{'faster' if finding.faster else f'not slower by {bound:.2f} s'}: {seen}"
        return f"unsure: {seen}; {self._help()}"

    def _change(self, finding: MetricFinding, typical: float) -> str:
        by, low, high = (
            self.slack.seconds(ratio, typical)
            for ratio in (finding.ratio, finding.low, finding.high)
        )
        if math.isinf(high) or not finding.low:
            return f"{by:+.2f} s (too few pairs for bounds)"
        return f"{by:+.2f} s (between {low:+.2f} s and {high:+.2f} s)"

    def _help(self) -> str:
        if len(self.pairs) < self.few:
            return f"too few for every answer to be possible: at least {self.few} pairs are needed"
        if self.needed is None:
            return "more pairs would tell"
        if self.needed.pairs is None:
            return (
                f"on this noise even {self.needed.tried} pairs don't tell: a quieter machine would"
            )
        if self.needed.pairs <= len(self.pairs):
            return "more pairs may not help: the change seems to lie between both limits"
        return f"on this noise {self.needed.pairs} pairs would tell"
