"""Invented noise, for simulations where no record fits."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

TYPICAL = MappingProxyType({"ttft": 0.06, "tpot": 0.04, "e2e": 0.045})


@dataclass(frozen=True)
class SyntheticNoise:
    """Invented noise of blocks on a shared machine; all sizes are of logarithms.

    The level of the machine wanders from block to block, for both servers alike; each block
    has noise of its own with heavy tails, part of it common to all metrics; now and then a
    block is hit by a stall; and a pair of servers may differ for good, as two starts of the
    same image do.

    Args:
        spread: Noise of a block's median, of each metric.
        common: Share of that variance that all metrics of a block have in common.
        tails: Degrees of freedom of Student's t: the smaller the wilder, above 2. A wild
            block is wild in all metrics.
        drift: Standard deviation of the machine's level.
        memory: Correlation of that level from one block to the next.
        spikes: Chance that a block is hit by a stall.
        spike: Mean size of a stall.
        instance: Standard deviation of what tells two starts of one image apart.
    """

    spread: Mapping[str, float] = field(default_factory=lambda: dict(TYPICAL))
    common: float = 0.5
    tails: float = 4.0
    drift: float = 0.10
    memory: float = 0.9
    spikes: float = 0.03
    spike: float = 0.4
    instance: float = 0.0

    def __call__(self, dice: random.Random, pairs: int) -> dict[str, list[float]]:
        """Return the differences of `pairs` pairs."""
        blocks = self._blocks(dice)
        apart = self.instance * dice.gauss()
        found: dict[str, list[float]] = {metric: [] for metric in self.spread}
        for _ in range(pairs):
            one, other = next(blocks), next(blocks)
            sign = _coin(dice)
            for metric, column in found.items():
                column.append(apart + sign * (one[metric] - other[metric]))
        return found

    def _blocks(self, dice: random.Random) -> Iterator[dict[str, float]]:
        level = self.drift * dice.gauss()
        while True:
            step = math.sqrt(1 - self.memory**2) * self.drift
            level = self.memory * level + step * dice.gauss()
            hit = dice.expovariate(1 / self.spike) if dice.random() < self.spikes else 0.0
            wild = math.sqrt((self.tails - 2) / dice.gammavariate(self.tails / 2, 2.0))
            shared = math.sqrt(self.common) * dice.gauss()
            own = math.sqrt(1 - self.common)
            yield {
                metric: level + hit + spread * wild * (shared + own * dice.gauss())
                for metric, spread in self.spread.items()
            }


def _coin(dice: random.Random) -> int:
    return 1 if dice.getrandbits(1) else -1
