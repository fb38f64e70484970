"""An alert: what must not be, for how long, who is woken, and what to do then."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

WHO = "{{ $labels.instance }} ({{ $labels.environment }} {{ $labels.slot }})"
"""How a summary names a server."""


@dataclass(frozen=True)
class Alert:
    """An alert of Prometheus.

    Args:
        name: Its name, `Sglang…`.
        expr: What must not be.
        hold: Seconds for which it has to be so.
        severity: `page` wakes somebody, `ticket` waits for the day.
        summary: What is wrong, in one line; `{{ $labels.instance }}` stands for a label.
        threshold: Where the limit in `expr` is from.
        runbook: What to do, in one line.
    """

    name: str
    expr: str
    hold: int
    severity: Literal["page", "ticket"]
    summary: str
    threshold: str
    runbook: str
