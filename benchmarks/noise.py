"""Invented noise, for simulations where no record fits."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from ci.gate.noise import Noise, Started

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


@dataclass(frozen=True)
class TwoModes:
    """Servers that fall into a slow mode for some blocks, as TTFT does under closed loops.

    The mode belongs to a server and not to a place in the pair, so that no coin undoes it, and
    it lasts, so that pairs resemble their neighbours.

    Args:
        steps: How much slower the slow mode is, of each metric, as a logarithm.
        spread: Noise of a block's median beside that.
        stay: Chance that a block has the mode of the one before.
    """

    steps: Mapping[str, float] = field(
        default_factory=lambda: {"ttft": 0.38, "tpot": 0.0, "e2e": 0.17}
    )
    spread: Mapping[str, float] = field(
        default_factory=lambda: {"ttft": 0.06, "tpot": 0.012, "e2e": 0.03}
    )
    stay: float = 0.7

    def __call__(self, dice: random.Random, pairs: int) -> dict[str, list[float]]:
        """Return the differences of `pairs` pairs."""
        modes = [dice.getrandbits(1), dice.getrandbits(1)]
        found: dict[str, list[float]] = {metric: [] for metric in self.steps}
        for _ in range(pairs):
            modes = [mode if dice.random() < self.stay else dice.getrandbits(1) for mode in modes]
            for metric, column in found.items():
                size = math.sqrt(2) * self.spread[metric]
                column.append(self.steps[metric] * (modes[1] - modes[0]) + size * dice.gauss())
        return found


@dataclass(frozen=True)
class StartNoise:
    """What a fresh start of both sides adds, beside the noise of the pairs within a round.

    Args:
        noise: The pairs of a round.
        effect: Standard deviation of one start's effect, of each metric: τ.
        tails: Degrees of freedom of Student's t that the effect follows; 0: a normal one.
        common: Share of its variance that all metrics have in common.
        place: How much slower the side is that starts second; sides swap places each round.
    """

    noise: Noise
    effect: Mapping[str, float]
    tails: float = 0.0
    common: float = 0.5
    place: float = 0.0

    def starts(self, dice: random.Random, slower: float | Mapping[str, float] = 0.0) -> Started:
        """Return the starts of one comparison whose candidate is slower by a share."""
        slow = slower if isinstance(slower, Mapping) else dict.fromkeys(self.effect, slower)
        place = self.place * _coin(dice)
        rounds = 0

        def started(pairs: int) -> dict[str, list[float]]:
            nonlocal rounds
            rounds += 1
            turned = place if rounds % 2 else -place
            wild = self._wild(dice)
            shared = math.sqrt(self.common) * dice.gauss()
            apart = {
                metric: math.sqrt(2) * size * wild * (shared + self._own(dice)) + turned
                for metric, size in self.effect.items()
            }
            return {
                metric: [value + apart[metric] + math.log1p(slow.get(metric, 0.0)) for value in at]
                for metric, at in self.noise(dice, pairs).items()
            }

        return started

    def _own(self, dice: random.Random) -> float:
        return math.sqrt(1 - self.common) * dice.gauss()

    def _wild(self, dice: random.Random) -> float:
        if not self.tails:
            return 1.0
        return math.sqrt((self.tails - 2) / dice.gammavariate(self.tails / 2, 2.0))


def _coin(dice: random.Random) -> int:
    return 1 if dice.getrandbits(1) else -1
