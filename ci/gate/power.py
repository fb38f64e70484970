"""How often a rule errs on a given noise, by simulation; and how many pairs it would need.

Figures of power that come from a run's own noise are for planning the next run only. They
never turn an inconclusive run into a pass: that a slow-down "would have been found" is said by
the bound on the ratio alone (Hoenig and Heisey 2001).
"""

from __future__ import annotations

import math
import random
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

from ci.errors import UsageError
from ci.gate.decide import Columns, rounds_verdict, verdict
from ci.gate.noise import Noise, Started, residual
from ci.gate.rule import Rule
from ci.gate.sequential import Look, Schedule
from ci.gate.starts import StartEffect
from ci.verdict import Verdict

SIZES = (12, 16, 20, 24, 32, 40, 48, 64, 80, 96, 128, 160, 192, 256)
"""Numbers of pairs that are tried, in the hope that one is enough."""

RUNS = 400
"""Simulated comparisons behind each figure of power after a run."""


@dataclass(frozen=True)
class Rates:
    """How simulated comparisons ended.

    Args:
        runs: How many there were.
        failed: How many said FAILED.
        passed: How many said PASSED.
        pairs: Mean number of pairs that they took.
        rounds: Mean number of starts of both sides that they took.
    """

    runs: int
    failed: int
    passed: int
    pairs: float
    rounds: float = 1.0


@dataclass(frozen=True)
class Need:
    """What a comparison on this noise would need.

    Args:
        pairs: Pairs of a run that finds what is there with the rule's power: that says PASSED
            for an equal candidate, and FAILED for one that is slower by what must not pass.
            None where the most that was tried isn't enough.
        tried: The most pairs that were tried.
        runs: Simulated comparisons behind each figure.
    """

    pairs: int | None
    tried: int
    runs: int


def rates(
    noise: Noise,
    rule: Rule,
    looks: Sequence[Look],
    *,
    slower: float | Mapping[str, float] = 0.0,
    runs: int = 1000,
    seed: int = 0,
) -> Rates:
    """Simulate comparisons, and count how they end.

    Args:
        noise: Differences of two equal servers.
        rule: What is asked.
        looks: When a comparison may end.
        slower: The candidate's slow-down, 0.1 for ten per cent: in all metrics, or by name.
        runs: How many comparisons.
        seed: Of the random generator; equal seeds give equal figures.
    """
    dice = random.Random(seed)  # noqa: S311
    drawn = (slowed(noise(dice, looks[-1].pairs), rule, slower) for _ in range(runs))
    ends = [_simulate(columns, rule, looks) for columns in drawn]
    counts = Counter(end for end, _ in ends)
    mean = sum(pairs for _, pairs in ends) / max(1, runs)
    return Rates(runs, counts[Verdict.FAILED], counts[Verdict.PASSED], mean)


def rounds_end(
    started: Started, rule: Rule, looks: Sequence[Look], effect: StartEffect
) -> tuple[Verdict, int, int]:
    """Return how one simulated comparison in rounds ends, after how many rounds and pairs.

    As in a live one, a round that is suspicious isn't measured to its end: only a fresh start
    tells more.
    """
    most = {look.rounds: look.pairs for look in looks}
    rounds: list[Columns] = []
    whole: Columns = {}
    left = 0
    for look in looks:
        if look.rounds > len(rounds):
            whole = started(most[look.rounds])
            rounds.append(whole)
        elif look.rounds == left:
            continue
        rounds[-1] = {metric: values[: look.pairs] for metric, values in whole.items()}
        found, suspicious = rounds_verdict(rounds, rule, look, effect)
        if found is not Verdict.INCONCLUSIVE:
            break
        left = look.rounds if suspicious and look.rounds < looks[-1].rounds else left
    pairs = sum(len(one[rule.metrics[0]]) for one in rounds)
    return found, len(rounds), pairs


def round_rates(
    started: Callable[[random.Random], Started],
    rule: Rule,
    looks: Sequence[Look],
    effect: StartEffect,
    *,
    runs: int = 1000,
    seed: int = 0,
) -> Rates:
    """Simulate comparisons in rounds, and count how they end.

    Args:
        started: Returns the starts of one comparison, slow-down included.
        rule: What is asked.
        looks: When a comparison may end.
        effect: What the comparison believes of starts beforehand, right or wrong.
        runs: How many comparisons.
        seed: Of the random generator; equal seeds give equal figures.
    """
    dice = random.Random(seed)  # noqa: S311
    ends = [rounds_end(started(dice), rule, looks, effect) for _ in range(runs)]
    counts = Counter(end for end, _, _ in ends)
    rounds = sum(taken for _, taken, _ in ends) / max(1, runs)
    pairs = sum(taken for _, _, taken in ends) / max(1, runs)
    return Rates(runs, counts[Verdict.FAILED], counts[Verdict.PASSED], pairs, rounds)


def slowed(columns: Columns, rule: Rule, slower: float | Mapping[str, float]) -> Columns:
    """Return the differences of a candidate that is slower by a share, in all metrics or some."""
    effects = slower if isinstance(slower, Mapping) else dict.fromkeys(rule.metrics, slower)
    return {
        metric: [value + math.log1p(effects.get(metric, 0.0)) for value in columns[metric]]
        for metric in rule.metrics
    }


def _simulate(columns: Columns, rule: Rule, looks: Sequence[Look]) -> tuple[Verdict, int]:
    for look in looks:
        seen = {metric: values[: look.pairs] for metric, values in columns.items()}
        found = verdict(seen, rule, look)
        if found is not Verdict.INCONCLUSIVE:
            return found, look.pairs
    return Verdict.INCONCLUSIVE, looks[-1].pairs


def need(columns: Columns, rule: Rule, *, runs: int = RUNS, seed: int = 0) -> Need:
    """Return how many pairs one run would need, judging by the noise of `columns`."""
    noise = residual(columns)

    def enough(pairs: int) -> bool:
        try:
            looks = Schedule(pairs, repeat=False).looks(rule)
        except UsageError:
            return False
        equal = rates(noise, rule, looks, runs=runs, seed=seed)
        if equal.passed < rule.power * runs:
            return False
        slow = rates(noise, rule, looks, slower=rule.slowdown, runs=runs, seed=seed)
        return slow.failed >= rule.power * runs

    at = bisect_left(SIZES, True, key=enough)  # noqa: FBT003 - what `enough` is looked for
    return Need(SIZES[at] if at < len(SIZES) else None, SIZES[-1], runs)


def interval(hits: int, runs: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return Wilson's interval of a rate: where it lies, judging by `hits` of `runs`."""
    if not runs:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    rate, spread = hits / runs, z * z / runs
    middle = (rate + spread / 2) / (1 + spread)
    half = z * math.sqrt(rate * (1 - rate) / runs + spread / (4 * runs)) / (1 + spread)
    return (middle - half if hits else 0.0), (middle + half if hits < runs else 1.0)
