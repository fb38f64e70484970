"""Invented starts of a server, for tests of what is said of them."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping

from ci.report.model import Phase
from ci.startup.stage import Start, Timed

SECONDS = {"process started": 0.2, "port open": 24.0, "serving": 1.1, "first token": 0.1}
PARTS = {"arguments": 12.0, "scheduler": 11.0, "weights": 0.05}


def start(dice: random.Random, slower: Mapping[str, float], noise: float) -> Start:
    """Return one start: a phase that is slower by some seconds, or a part that is, is so."""
    sways = {name: math.exp(dice.gauss(0, noise)) for name in (*SECONDS, *PARTS)}
    parts = {name: it * sways[name] + slower.get(name, 0.0) for name, it in PARTS.items()}
    outer = {name: it * sways[name] + slower.get(name, 0.0) for name, it in SECONDS.items()}
    outer["port open"] += sum(slower.get(name, 0.0) for name in PARTS)
    return (
        *(Phase(name=name, start=0, seconds=it) for name, it in outer.items()),
        *(Phase(name=name, start=0, seconds=it, within="port open") for name, it in parts.items()),
    )


def timed(
    pairs: int, slower: Mapping[str, float] | None = None, noise: float = 0.02, seed: int = 0
) -> Timed:
    """Return pairs of starts whose candidate is slower by some seconds in some phases."""
    dice = random.Random(seed)  # noqa: S311
    both = [(start(dice, {}, noise), start(dice, slower or {}, noise)) for _ in range(pairs)]
    return Timed(tuple(new for _, new in both), tuple(old for old, _ in both))
