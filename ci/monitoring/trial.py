"""A trial: made-up series under which an alert has to fire, and when, for `promtool test rules`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ci.monitoring.alert import Alert
from ci.settings.observe import ObserveSettings

TARGET = {
    "instance": "one:30000",
    "environment": "prod",
    "slot": "blue",
    "release": "r1",
    "image_digest": "sha256:1",
    "version": "0.5.23",
}
"""Labels of the server in every trial, `job` left out."""
_VARIABLE = re.compile(r"\{\{ \$labels\.(\w+) \}\}")


@dataclass(frozen=True)
class Piece:
    """A part of a series' life.

    Args:
        seconds: How long it lasts.
        start: Its first value; None where there is no series.
        step: What each scrape adds.
    """

    seconds: int
    start: float | None = 0
    step: float = 0


@dataclass(frozen=True)
class Trial:
    """One alert under made-up series.

    Args:
        alert: Name of the alert.
        series: Series to the pieces of its life; a name without labels gets those of `TARGET`.
        quiet: Second at which it must not fire.
        fires: Second at which it has to fire; None where it never may.
        cleared: Second at which it must not fire any more; None where that isn't looked at.
        labels: Labels of the firing alert, `severity` and `alertname` left out.
    """

    alert: str
    series: Mapping[str, tuple[Piece, ...]]
    quiet: int
    fires: int | None
    cleared: int | None = None
    labels: Mapping[str, str] = field(default_factory=dict)

    def document(self, alerts: Mapping[str, Alert], at: ObserveSettings) -> dict[str, Any]:
        """Return the trial as promtool reads it."""
        silent = [second for second in (self.quiet, self.cleared) if second is not None]
        expected = [{"exp_labels": dict(self.labels), "exp_annotations": {}}]
        if self.fires is not None:
            expected = [self._expected(alerts[self.alert])]
        firing = [(self.fires, expected)] if self.fires is not None else []
        looks = [*((second, list[Any]()) for second in silent), *firing]
        return {
            "name": f"{self.alert}",
            "interval": f"{at.interval}s",
            "input_series": [
                {"series": name, "values": _values(pieces, at.interval)}
                for name, pieces in self.series.items()
            ],
            "alert_rule_test": [
                {"eval_time": f"{second}s", "alertname": self.alert, "exp_alerts": found}
                for second, found in sorted(looks, key=lambda look: look[0])
            ],
        }

    def _expected(self, alert: Alert) -> dict[str, Any]:
        def filled(text: str) -> str:
            return _VARIABLE.sub(lambda found: self.labels.get(found[1], ""), text)

        return {
            "exp_labels": {**self.labels, "severity": alert.severity},
            "exp_annotations": {
                "summary": filled(alert.summary),
                "threshold": alert.threshold,
                "runbook": alert.runbook,
            },
        }


def _values(pieces: tuple[Piece, ...], interval: int) -> str:
    """Return a series' values in promtool's short form."""
    words = []
    for piece in pieces:
        count = max(piece.seconds // interval, 1)
        if piece.start is None:
            words.append(f"_x{count}")
        else:
            words.append(f"{piece.start:g}{piece.step:+g}x{count - 1}")
    return " ".join(words)
