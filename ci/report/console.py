"""Progress of a run in plain lines, on a stream that may go away at any moment."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self, TextIO

from ci.report.text import counts, duration, expected, headline, one_line, shorten, subject
from ci.report.write import INDEX_HTML

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ci.report.earlier import Took
    from ci.report.model import Case, Check, Report

LINE = 2000
"""Most characters that one event may take of a log."""

QUIET = 10.0
"""Seconds of silence before a line on how far a check is, which a log keeps."""


class Output:
    """A text stream that never fails: it falls silent when nobody can read it any more."""

    def __init__(self, stream: TextIO) -> None:
        """Write to `stream`, in its own encoding."""
        self._stream = stream
        self.encoding = stream.encoding or "utf-8"

    def write(self, text: str) -> int:
        """Write `text` with '?' for what the stream's encoding lacks; return its length."""
        shown = text.encode(self.encoding, "replace").decode(self.encoding)
        with self._guarded():
            self._stream.write(shown)
        return len(text)

    def flush(self) -> None:
        """Hand over what is buffered."""
        with self._guarded():
            self._stream.flush()

    def isatty(self) -> bool:
        """Tell whether the stream is a terminal."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """Return the stream's descriptor."""
        return self._stream.fileno()

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Point the stream at nothing once it breaks, for the flush at Python's exit too."""
        try:
            yield
        except (OSError, ValueError):
            with suppress(OSError, ValueError), Path(os.devnull).open("wb") as nothing:
                os.dup2(nothing.fileno(), self._stream.fileno())


class PlainProgress:
    """One plain line an event, each with the seconds since the start."""

    def __init__(
        self,
        stream: TextIO,
        clock: Callable[[], float] = time.monotonic,
        earlier: Took | None = None,
    ) -> None:
        """Write to `stream`, with times in seconds from `clock`, and how long it took earlier."""
        self._out = Output(stream)
        self._clock = clock
        self._earlier = earlier or {}
        self._start = clock()
        self._check = ""
        self._said = self._start

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._out.flush()

    def check_started(self, name: str, budget: float | None) -> None:
        """Write the check's name and budget."""
        self._check = name
        self.note(f"{name}: started{self._expected(budget)}")

    def phase_started(self, name: str, budget: float | None) -> None:
        """Write the phase's name and budget."""
        self.note(f"{self._check}: {name} …{self._expected(budget, name)}")

    def _expected(self, budget: float | None, phase: str = "") -> str:
        told = expected(budget, self._earlier.get((self._check, phase)))
        return f" ({told})" if told else ""

    def phase_ended(self, name: str, seconds: float) -> None:
        """Write how long the phase took."""
        self.note(f"{self._check}: {name} took {duration(seconds)}")

    def case(self, case: Case) -> None:
        """Write the case's outcome, with its message where it has one."""
        told = f": {case.message}" if case.message else ""
        self.note(f"{self._check}: {case.outcome} {case.name}{told}")

    def check_ended(self, check: Check) -> None:
        """Write the check's verdict, its counts, and its cause where it isn't PASSED."""
        found = f"{check.verdict} in {duration(check.seconds)}, {counts(check) or 'no case'}"
        self.note(f"{check.name}: {found}" + (f": {check.cause}" if check.cause else ""))

    def live(self, text: str) -> None:
        """Write how far the running check is, where nothing was written for `QUIET` seconds."""
        if self._clock() - self._said >= QUIET:
            self.note(f"{self._check}: {text}")

    def note(self, text: str) -> None:
        """Write `text` as one line, with the seconds since the start before it."""
        self._said = self._clock()
        self._write(f"[{self._said - self._start:7.1f}] {one_line(shorten(text, LINE))}")

    def finished(self, report: Report, report_dir: Path | None) -> None:
        """Write the table of checks, then what `closing_lines` says."""
        head = ("check", "verdict", "time", "cases")
        table = _columns([head, *map(check_row, report.checks)])
        for line in ("", *table, "", *closing_lines(report, report_dir)):
            self._write(line)

    def _write(self, line: str) -> None:
        self._out.write(f"{line}\n")
        self._out.flush()


def check_row(check: Check) -> tuple[str, str, str, str]:
    """Return a check's name, verdict, time and counts, for the closing table."""
    return (
        one_line(check.name),
        str(check.verdict),
        duration(check.seconds),
        counts(check) or "no case",
    )


def closing_lines(report: Report, report_dir: Path | None) -> list[str]:
    """Return what follows the table: the verdict, the stages not run, the report's place."""
    missing = [(one_line(stage.stage), one_line(stage.needs)) for stage in report.not_run]
    place = [f"report: {report_dir / INDEX_HTML}"] if report_dir else []
    not_run = [f"not run here: {stage}: needs {needs}" for stage, needs in missing]
    told = [f"of {what}"] if (what := subject(report)) else []
    return [headline(report), *told, *not_run, *place]


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
