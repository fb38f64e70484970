"""Runs told to a progress display, and streams and clocks to tell them with."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from ci.report.progress import progress_for

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ci.report.model import Report
    from ci.report.progress import Progress

GITHUB = {"GITHUB_ACTIONS": "true"}
TERMINAL = {"TERM": "xterm-256color"}


class Screen(io.StringIO):
    """A stream in memory that says it is a terminal."""

    def isatty(self) -> bool:
        """Say so."""
        return True


class Ticks:
    """A clock that goes on by a second each time it is read."""

    def __init__(self) -> None:
        """Start at 100 s."""
        self.now = 99.0

    def __call__(self) -> float:
        """Return the next second."""
        self.now += 1
        return self.now


def play(progress: Progress, report: Report, folder: Path | None = None) -> None:
    """Tell `progress` what a run that ends in `report` would."""
    with progress:
        for check in report.checks:
            progress.check_started(check.name, 370)
            for phase in check.phases:
                progress.phase_started(phase.name, phase.budget)
                progress.phase_ended(phase.name, phase.seconds)
            for case in check.cases:
                progress.case(case)
            progress.check_ended(check)
        progress.note("stopping the server")
        progress.finished(report, folder)


def told(report: Report, environ: Mapping[str, str], folder: Path | None = None) -> str:
    """Return what a stream that is no terminal gets."""
    stream = io.StringIO()
    play(progress_for(stream, environ), report, folder)
    return stream.getvalue()
