"""What tests look for in a report."""

from __future__ import annotations

from ci.report.model import Check, Report


def check_of(report: Report, name: str) -> Check:
    """Return a report's check by its name."""
    (found,) = (check for check in report.checks if check.name == name)
    return found
