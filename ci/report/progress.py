"""Progress of a run on standard output: one interface, and what suits each reader.

A terminal gets a live display (`ci.report.terminal`), anything else one plain line an
event, and GitHub Actions its groups and annotations on top of that (`ci.report.github`).
There is one stream for all of it, so that a log reads in the order of events. A reader
that goes away (a closed pipe, a full disk) never disturbs the run.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self, TextIO

from ci.report.console import PlainProgress
from ci.report.github import GithubProgress

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ci.report.earlier import Took
    from ci.report.model import Case, Check, Report


class Progress(Protocol):
    """What a run tells while it goes on; a context manager around the whole run."""

    def __enter__(self) -> Self:
        """Start telling."""
        ...

    def __exit__(self, *error: object) -> None:
        """Stop telling, whatever happened, and leave the terminal as it was."""
        ...

    def check_started(self, name: str, budget: float | None) -> None:
        """Tell that a check starts, with its budget in seconds where it has one."""
        ...

    def phase_started(self, name: str, budget: float | None) -> None:
        """Tell that a phase of the running check starts."""
        ...

    def phase_ended(self, name: str, seconds: float) -> None:
        """Tell that a phase of the running check ended, and how long it took."""
        ...

    def case(self, case: Case) -> None:
        """Tell what one case of the running check found."""
        ...

    def check_ended(self, check: Check) -> None:
        """Tell what the running check found as a whole."""
        ...

    def live(self, text: str) -> None:
        """Tell how far the running check is, in one line that the next one replaces."""
        ...

    def note(self, text: str) -> None:
        """Tell anything else, in one line."""
        ...

    def finished(self, report: Report, report_dir: Path | None) -> None:
        """Tell what the run found, and where its report lies if it could be written."""
        ...


def progress_for(
    stream: TextIO, environ: Mapping[str, str], earlier: Took | None = None
) -> Progress:
    """Choose how to tell progress on `stream`, in the environment that the edge passes in.

    Args:
        stream: Where it is told.
        environ: Says what reads it.
        earlier: How long an earlier run took.
    """
    if environ.get("GITHUB_ACTIONS") == "true":
        summary = environ.get("GITHUB_STEP_SUMMARY")
        return GithubProgress(stream, Path(summary) if summary else None, earlier=earlier)
    unwanted = environ.get("NO_COLOR") or environ.get("TERM", "dumb") == "dumb"
    if unwanted or not stream.isatty():
        return PlainProgress(stream, earlier=earlier)
    from ci.report.terminal import RichProgress

    return RichProgress(stream, environ, earlier=earlier)
