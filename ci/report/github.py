"""Progress as GitHub Actions shows it: groups, annotations and the job's summary."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TextIO

from ci.report import markdown
from ci.report.console import LINE, PlainProgress
from ci.report.text import BAD, clean, shorten, unexplained
from ci.verdict import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ci.report.earlier import Took
    from ci.report.model import Check, Report


class GithubProgress(PlainProgress):
    """Plain lines in one group a check, and an annotation for each case that went wrong.

    The runner obeys lines that begin with `::` and, in its older dialect, whatever follows
    `##[` anywhere in a line: neither may come from a server's words.
    """

    def __init__(
        self,
        stream: TextIO,
        summary: Path | None,
        clock: Callable[[], float] = time.monotonic,
        earlier: Took | None = None,
    ) -> None:
        """Write to `stream`, and at the end to the file of job summaries at `summary`."""
        super().__init__(stream, clock, earlier)
        self._summary = summary

    def check_started(self, name: str, budget: float | None) -> None:
        """Open a group that holds the check's events."""
        self._command("group", name)
        super().check_started(name, budget)

    def check_ended(self, check: Check) -> None:
        """Close the group, then annotate; what is in a closed group isn't seen."""
        self._command("endgroup")
        super().check_ended(check)
        for case in check.cases:
            if case.outcome in BAD:
                kind = "warning" if case.outcome is Outcome.INCONCLUSIVE else "error"
                self._command(kind, case.message or case.name, f"{check.name}: {case.name}")
        if unexplained(check):
            self._command("error", check.cause, check.name)

    def finished(self, report: Report, report_dir: Path | None) -> None:
        """Write the table and append the report as Markdown to the job's summary."""
        super().finished(report, report_dir)
        if report.interrupted:
            self._command("error", report.cause, report.title)
        if self._summary:
            try:
                with self._summary.open("a", encoding="utf-8") as file:
                    file.write(markdown.render(report))
            except OSError as error:
                self.note(f"the job's summary was not written: {error}")

    def _command(self, name: str, message: str = "", title: str = "") -> None:
        told = f" title={_escaped(title, in_property=True)}" if title else ""
        super()._write(f"::{name}{told}::{_escaped(message)}")

    def _write(self, line: str) -> None:
        harmless = line.replace("##[", "## [")
        if harmless.lstrip().startswith("::"):
            harmless = harmless.replace("::", ": :", 1)
        super()._write(harmless)


def _escaped(text: str, *, in_property: bool = False) -> str:
    """Return `text` as the runner wants it in a command's message or property."""
    signs: dict[str, str | int | None] = {"%": "%25", "\r": "%0D", "\n": "%0A"}
    if in_property:
        signs |= {":": "%3A", ",": "%2C"}
    harmless = clean(shorten(text, LINE)).replace("##[", "## [")
    return harmless.translate(str.maketrans(signs))
