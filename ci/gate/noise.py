"""Where simulated differences come from: recorded pairs, one run's own noise.

Each is a function of a random generator and a number of pairs, and returns the differences of
two *equal* servers; a slow-down is added to them afterwards, since a factor on all times is a
shift of their logarithms.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence

from ci.gate.decide import Columns
from ci.gate.signed_rank import Differences

Noise = Callable[[random.Random, int], Columns]
Started = Callable[[int], Columns]
"""The differences of one round, that has so many pairs, after a fresh start of both sides."""


def recorded(columns: Columns) -> Noise:
    """Return the noise of recorded pairs of equal servers.

    A draw is a stretch of the record in its own order, from a random place on and round its
    end, each pair with either sign: that is what the coin of a real run would have done to it.
    What told the two servers apart for good is lost by that; `Differences.estimate` of the
    record shows it.
    """
    rows = list(zip(*columns.values(), strict=True))

    def draw(dice: random.Random, pairs: int) -> dict[str, list[float]]:
        begin = dice.randrange(len(rows))
        picked = [rows[(begin + at) % len(rows)] for at in range(pairs)]
        return _signed(dice, columns, picked)

    return draw


def residual(columns: Columns) -> Noise:
    """Return the noise of one run whatever its effect: deviations from the estimates, mixed."""
    centres = [Differences(column).estimate for column in columns.values()]
    rows = [
        tuple(value - centre for value, centre in zip(row, centres, strict=True))
        for row in zip(*columns.values(), strict=True)
    ]

    def draw(dice: random.Random, pairs: int) -> dict[str, list[float]]:
        return _signed(dice, columns, dice.choices(rows, k=pairs))

    return draw


def recorded_starts(
    twins: Sequence[Columns], slower: float | Mapping[str, float] = 0.0
) -> Callable[[random.Random], Started]:
    """Return fresh starts as recorded twins show them: each round is one of these, either way.

    The pairs of a twin keep their order and their common difference, and with them what lives as
    long as two processes do. A round takes a stretch from a random place on, round the end.

    Args:
        twins: The differences of each twin's pairs, by metric.
        slower: The candidate's slow-down, in all metrics or by name.
    """
    slow = slower if isinstance(slower, Mapping) else dict.fromkeys(twins[0], slower)

    def starts(dice: random.Random) -> Started:
        def started(pairs: int) -> dict[str, list[float]]:
            twin, sign = dice.choice(twins), _coin(dice)
            begin = dice.randrange(len(next(iter(twin.values()))))
            return {
                metric: [
                    sign * values[(begin + at) % len(values)] + math.log1p(slow.get(metric, 0.0))
                    for at in range(pairs)
                ]
                for metric, values in twin.items()
            }

        return started

    return starts


def _signed(
    dice: random.Random, columns: Columns, rows: Sequence[tuple[float, ...]]
) -> dict[str, list[float]]:
    """Give each row a random sign, the same for all its metrics."""
    signs = [_coin(dice) for _ in rows]
    return {
        metric: [sign * row[at] for sign, row in zip(signs, rows, strict=True)]
        for at, metric in enumerate(columns)
    }


def _coin(dice: random.Random) -> int:
    return 1 if dice.getrandbits(1) else -1
