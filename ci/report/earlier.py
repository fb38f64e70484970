"""How long the run took whose report lies in a folder: an estimate for who waits for the next."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ci.errors import UsageError
from ci.report.write import load
from ci.verdict import Verdict

Took = Mapping[tuple[str, str], float]
"""Seconds by check and phase; those of a check itself have the phase ''."""


def took(folder: Path) -> Took:
    """Return the seconds of each check that passed, and of its phases; none without a report."""
    try:
        report = load(folder)
    except UsageError:
        return {}
    found: dict[tuple[str, str], float] = {}
    for check in report.checks:
        if check.verdict is Verdict.PASSED:
            found |= {(check.name, phase.name): phase.seconds for phase in check.phases}
            found[check.name, ""] = check.seconds
    return found
