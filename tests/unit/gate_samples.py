"""Blocks of invented servers, and what a comparison found, for tests of the gate."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, field

from ci.gate.blocks import BlockResult, Pair
from ci.gate.decide import Decision
from ci.gate.measured import Options, Watcher
from ci.gate.sequential import Look, Schedule

SECONDS = {"ttft": 0.1, "tpot": 0.01, "e2e": 0.5}
QUICK = Options(schedule=Schedule(pairs=12), seed=1, spares=2)


@dataclass
class Servers:
    """A block on invented servers: `slower` and `noise` are by URL; all calls are kept.

    Args:
        slower: Share by which a server is slower, by its URL.
        noise: Standard deviation of a block's logarithm.
        problems: What is wrong with a block, by the number of the call.
    """

    slower: Mapping[str, float] = field(default_factory=dict)
    noise: float = 0.02
    problems: Mapping[int, str | Exception] = field(default_factory=dict)
    calls: list[tuple[str, int]] = field(default_factory=list)

    async def __call__(self, server: str, seed: int) -> BlockResult:
        """Return one block."""
        self.calls.append((server, seed))
        problem = self.problems.get(len(self.calls), "")
        if isinstance(problem, Exception):
            raise problem
        factor = 1 + self.slower.get(server, 0.0)
        dice = random.Random(f"{server}{seed}")  # noqa: S311
        metrics = {
            name: tuple(factor * seconds * math.exp(dice.gauss(0, self.noise)) for _ in range(3))
            for name, seconds in SECONDS.items()
        }
        return BlockResult(metrics, ("yes", str(seed)), problem)


class Diary(Watcher):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.pairs: list[Pair] = []
        self.decisions: list[Decision] = []
        self.problems: list[str] = []

    def measured(self, pair: Pair, look: Look) -> None:
        """Keep a pair."""
        assert pair.index < look.pairs
        self.pairs.append(pair)

    def looked(self, decision: Decision) -> None:
        """Keep a decision."""
        self.decisions.append(decision)

    def broke(self, problem: str) -> None:
        """Keep a problem."""
        self.problems.append(problem)
