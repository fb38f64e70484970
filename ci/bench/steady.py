"""Whether a server has reached a steady state: the end of a warm-up, on evidence.

The last half of the warm-up's answers is cut into two quarters, and the drift between them is
the ratio of their geometric means, of TTFT and of TPOT. Steady is what an equivalence test
shows (two one-sided Welch t tests at 5 %, on the logarithms): the drift's 90 % confidence
interval lies within the bound, such as from 1/1.2 to 1.2. So noise alone never ends a
warm-up, it makes it longer; and a queue that grows without end never is steady.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

from ci.bench.records import RequestRecord

LEAST = 8
"""Fewest answers of a quarter."""

_QUARTERS = 4
_ONE_SIDED = 0.95


@dataclass(frozen=True)
class Drift:
    """By what factor one quantity went up from the third quarter to the last.

    Args:
        factor: The ratio of geometric means; 1 for no drift.
        low: Lower end of its 90 % confidence interval.
        high: Upper end.
    """

    factor: float
    low: float
    high: float

    def within(self, bound: float) -> bool:
        """Return whether the interval shows a drift of at most the share `bound`, either way."""
        return 1 / (1 + bound) <= self.low and self.high <= 1 + bound

    def __str__(self) -> str:
        """Return it in words."""
        return f"{self.factor - 1:+.0%} [{self.low - 1:+.0%}, {self.high - 1:+.0%}]"


def drifts(records: Sequence[RequestRecord]) -> dict[str, Drift]:
    """Return the drift of TTFT and TPOT over the last half of the answers, in order of ends.

    What has too few samples is missing: TPOT where all answers have one token.
    """
    whole = sorted((one for one in records if one.complete), key=lambda record: record.ended)
    size = len(whole) // _QUARTERS
    if size < LEAST:
        return {}
    early, late = whole[-2 * size : -size], whole[-size:]
    found = {
        name: _drift(
            [value for value in map(quantity, early) if value],
            [value for value in map(quantity, late) if value],
        )
        for name, quantity in (("TTFT", _ttft), ("TPOT", _tpot))
    }
    return {name: drift for name, drift in found.items() if drift}


def steady(found: dict[str, Drift], bound: float) -> bool:
    """Return whether everything that was measured, TTFT at least, is shown to be steady."""
    return "TTFT" in found and all(drift.within(bound) for drift in found.values())


def _ttft(record: RequestRecord) -> float | None:
    return record.ttft


def _tpot(record: RequestRecord) -> float | None:
    return record.tpot


def _drift(early: Sequence[float], late: Sequence[float]) -> Drift | None:
    if min(len(early), len(late)) < LEAST:
        return None
    (first, first_error), (second, second_error) = _moments(early), _moments(late)
    error = math.sqrt(first_error + second_error)
    freedom = _welch(first_error, len(early), second_error, len(late))
    reach, shift = student(_ONE_SIDED, freedom) * error, second - first
    return Drift(math.exp(shift), math.exp(shift - reach), math.exp(shift + reach))


def _moments(samples: Sequence[float]) -> tuple[float, float]:
    """Return the mean of the logarithms and the square of its standard error."""
    logs = [math.log(sample) for sample in samples]
    mean = math.fsum(logs) / len(logs)
    spread = math.fsum((log - mean) ** 2 for log in logs)
    return mean, spread / (len(logs) - 1) / len(logs)


def _welch(first: float, first_count: int, second: float, second_count: int) -> float:
    """Return the degrees of freedom of the difference of two means (Welch-Satterthwaite)."""
    below = first**2 / (first_count - 1) + second**2 / (second_count - 1)
    return (first + second) ** 2 / below if below else math.inf


def student(share: float, freedom: float) -> float:
    """Return a quantile of Student's t (Hill's expansion: within 0.1 % from 7 degrees up)."""
    z = NormalDist().inv_cdf(share)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return z + sum(term / freedom**power for power, term in enumerate(terms, 1))
