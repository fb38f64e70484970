"""Where simulated differences come from: recorded pairs, one run's own noise.

Each is a function of a random generator and a number of pairs, and returns the differences of
two *equal* servers; a slow-down is added to them afterwards, since a factor on all times is a
shift of their logarithms.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from ci.gate.decide import Columns
from ci.gate.signed_rank import Differences

Noise = Callable[[random.Random, int], Columns]


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
