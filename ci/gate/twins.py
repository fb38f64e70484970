"""Twins: fresh starts of one image, compared again and again.

They show what a start adds to a server's times, which comparisons on this machine then count in.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from ci.gate.blocks import rounds_of
from ci.gate.compare import Comparison, Fresh, compare_rounds
from ci.gate.measured import Options, Watcher
from ci.gate.noise import recorded_starts
from ci.gate.power import Rates, round_rates
from ci.gate.rule import Rule
from ci.gate.sequential import Look, Schedule
from ci.gate.signed_rank import Differences
from ci.gate.starts import StartEffect, assumed, measured
from ci.gate.words import percent, rate
from ci.report.model import Case
from ci.verdict import Outcome

RUNS = 1000
"""Simulated comparisons behind each rate."""
LEAST_TWINS = 3
"""Twins without which nothing is said of starts."""


@dataclass(frozen=True)
class Twins:
    """What fresh starts of one image showed.

    Args:
        comparison: Their pairs, a round a twin.
        effect: What a start adds; None where the run was cut too early to say.
        alarms: How comparisons of one image with itself end on these twins; None likewise.
        found: How those with an image slower by `share` do.
        share: By how much that is slower.
    """

    comparison: Comparison
    effect: StartEffect | None
    alarms: Rates | None
    found: Rates | None
    share: float


@dataclass(frozen=True)
class TwinSchedule(Schedule):
    """Rounds of twins: each is measured to its end, and nothing is decided."""

    @property
    def restarts(self) -> bool:
        """Always: each round is a twin."""
        return True

    def looks(self, rule: Rule, effect: StartEffect | None = None) -> tuple[Look, ...]:  # noqa: ARG002
        """Return a look at the end of each round, at no level."""
        return tuple(
            Look(self.round_pairs, 0.0, 0.0, number) for number in range(1, self.rounds + 1)
        )


async def compared(fresh: Fresh, options: Options, count: int, watcher: Watcher) -> Twins:
    """Compare fresh starts of one image with each other, and say what a start adds.

    Args:
        fresh: Starts both sides of one image.
        options: How comparisons are run.
        count: How many twins are started.
        watcher: Who is told.

    Raises:
        ServerFault: A server is broken.
        CheckBroken: It is broken and called the baseline.
    """
    rule, share = options.rule, options.rule.slowdown
    schedule = TwinSchedule(options.schedule.pairs, rounds=count)
    asked = replace(options, schedule=schedule, effect=assumed(rule.metrics))
    found = await compare_rounds(fresh, asked, watcher)
    rounds = rounds_of(found.pairs, rule.metrics)
    whole = [one for one in rounds if _count(one) >= schedule.round_pairs]
    if len(whole) < LEAST_TWINS:
        return Twins(found, None, None, None, share)
    effect = measured(whole, rule.metrics, f"measured by {len(whole)} twins")
    looks = options.schedule.looks(rule, effect)
    alarms, missed = (
        round_rates(recorded_starts(whole, by), rule, looks, effect, runs=RUNS)
        for by in (0.0, share)
    )
    return Twins(found, effect, alarms, missed, share)


def _count(differences: dict[str, list[float]]) -> int:
    return min(map(len, differences.values()))


def case(found: Twins, kept: str) -> Case:
    """Judge whether images can be told apart on this machine, by what its twins show.

    Args:
        found: What they show.
        kept: Where that was kept.
    """
    name, rule = "starts of one image", found.comparison.options.rule
    if found.effect is None or found.found is None or found.alarms is None:
        message = found.comparison.cut or "too few twins were measured"
        return Case(name=name, outcome=Outcome.INCONCLUSIVE, message=message)
    sizes = ", ".join(f"{metric} {rate(found.effect.spread[metric])}" for metric in rule.metrics)
    power, alarms = (rate(each.failed / each.runs) for each in (found.found, found.alarms))
    message = (
        f"a start adds {sizes} ({found.effect.source}, kept in {kept}); in {found.found.runs} "
        f"simulated comparisons {rate(found.share)} is found in {power}, and false alarms are "
        f"{alarms}, after {found.alarms.rounds:.1f} starts of both sides"
    )
    sure = found.found.failed >= rule.power * found.found.runs
    outcome = Outcome.PASSED if sure else Outcome.INCONCLUSIVE
    return Case(name=name, outcome=outcome, message=message, details=_differences(found))


def _differences(found: Twins) -> str:
    """Return the difference of each twin."""
    metrics = found.comparison.options.rule.metrics
    rounds = rounds_of(found.comparison.pairs, metrics)
    return "\n".join(
        f"start {number} of both sides: "
        + ", ".join(
            f"{metric} {percent(math.expm1(Differences(one[metric]).estimate))}"
            for metric in metrics
        )
        for number, one in enumerate(rounds, 1)
    )
