"""Where a series changed, by Apache Otava: the E-divisive method with a t test.

Fleming et al., *Hunter: using change point detection to hunt for performance regressions*
(ICPE 2023). It is an extra of its own (`sglang-ci[trend]`), since it holds numpy to a version
that SGLang's environment doesn't have.
"""

from __future__ import annotations

from dataclasses import dataclass

from ci.trend.history import TrendLine

LEAST = 8
"""Fewest believed points of a series that is looked at."""
P_VALUE, MAGNITUDE = 0.001, 0.05
"""What counts as a change: its p-value at most, and its size at least, as a share."""


@dataclass(frozen=True)
class FigureChange:
    """A change between two reports.

    Args:
        index: Place of the first believed point after it.
        before: Mean of the stretch before it, in the unit of the series.
        after: Mean of the stretch after it.
    """

    index: int
    before: float
    after: float

    @property
    def share(self) -> float | None:
        """By how much it changed, as a share; None from 0."""
        return self.after / self.before - 1 if self.before else None

    def worse(self, line: TrendLine) -> bool | None:
        """Return whether that is worse; None where the figure has no better."""
        if not line.better:
            return None
        return (self.after > self.before) == (line.better == "lower")


def available() -> bool:
    """Return whether change points can be looked for here."""
    try:
        import otava.analysis  # noqa: F401
    except ImportError:
        return False
    return True


def changes(line: TrendLine) -> tuple[FigureChange, ...]:
    """Return where the believed points of `line` changed; none where there are too few."""
    from otava.analysis import compute_change_points

    values = [point.value for point in line.believed]
    if len(values) < LEAST:
        return ()
    found, _ = compute_change_points(values, max_pvalue=P_VALUE, min_magnitude=MAGNITUDE)
    return tuple(
        FigureChange(int(one.index), float(one.stats.mean_before()), float(one.stats.mean_after()))
        for one in found
    )
