"""What is known beforehand of how far apart two starts of one image are.

A server keeps for life what its start gave it: its place in memory, its cores, its clock. So two
processes of one image differ, and no number of pairs of blocks tells that from a slow image.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ci.gate.signed_rank import Differences

ASSUMED, ASSUMED_FREEDOM = 0.02, 8.0
"""Effect of a start where nobody has measured it, and the twins that this guess is worth."""
SMALLEST = 0.002
"""Effect of a start below which no measurement is believed, as a logarithm."""


@dataclass(frozen=True)
class StartEffect:
    """How much a start adds to the times of a server, for as long as it runs.

    Args:
        spread: Standard deviation of that effect, as a logarithm, by metric.
        freedom: Degrees of freedom of the spread: of how many twins it was taken.
        source: Where it comes from, for people.
    """

    spread: Mapping[str, float]
    freedom: float
    source: str

    def apart(self, metric: str) -> float:
        """Return the standard deviation of the difference between two starts: √2 times one's."""
        return math.sqrt(2) * self.spread[metric]


def assumed(metrics: Iterable[str], spread: float | None = None) -> StartEffect:
    """Return what holds until somebody measures it, or what the settings say.

    Args:
        metrics: Whose it is.
        spread: What the settings say; None where they say nothing.
    """
    if spread is None:
        told = "assumed: nothing is known of this machine (compare FILE --self-test measures it)"
        return StartEffect(dict.fromkeys(metrics, ASSUMED), ASSUMED_FREEDOM, told)
    return StartEffect(dict.fromkeys(metrics, spread), ASSUMED_FREEDOM, "[gate] start_effect")


def measured(
    twins: Sequence[Mapping[str, Sequence[float]]], metrics: Iterable[str], source: str
) -> StartEffect:
    """Return the effect of a start that twins show: fresh starts of one image, compared.

    The mean difference of twins is known to be 0, so that each gives a degree of freedom. What
    the pairs of a twin leave unsure isn't taken off: the effect is told rather too large.

    Args:
        twins: The differences of the pairs of each twin, by metric.
        metrics: Which of them.
        source: Where it comes from.

    Raises:
        ValueError: There is no twin.
    """
    if not twins:
        raise ValueError("no twin was compared")
    spread = {}
    for metric in metrics:
        squares = [Differences(twin[metric]).estimate ** 2 for twin in twins]
        spread[metric] = max(SMALLEST, math.sqrt(sum(squares) / (2 * len(squares))))
    return StartEffect(spread, float(len(twins)), source)
