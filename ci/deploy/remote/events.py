"""A run's progress as lines that go to another host, which tells them as its own."""

from __future__ import annotations

import json
import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from pydantic import ValidationError

from ci.report.model import Case, Check, Report
from ci.report.progress import Progress
from ci.secrets.veil import veiled

LINE = 2**20
"""Most bytes of a line."""
_SHOWN = 500
"""Most characters that are shown of a line that is no event."""


class Lines:
    """Writes whole lines to a descriptor, from any thread; falls silent where nobody reads."""

    def __init__(self, descriptor: int) -> None:
        """Write to `descriptor`."""
        self._descriptor, self._lock = descriptor, threading.Lock()

    def write(self, line: str) -> None:
        """Write one line."""
        content = line.encode() + b"\n"
        with self._lock, suppress(OSError):
            while content:
                content = content[os.write(self._descriptor, content) :]


class SentProgress:
    """A `Progress` that is told elsewhere."""

    def __init__(self, lines: Lines) -> None:
        """Write to `lines`."""
        self._lines = lines

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def check_started(self, name: str, budget: float | None) -> None:
        """Tell that a check starts."""
        self._send("check_started", name, budget)

    def phase_started(self, name: str, budget: float | None) -> None:
        """Tell that a phase starts."""
        self._send("phase_started", name, budget)

    def phase_ended(self, name: str, seconds: float) -> None:
        """Tell that a phase ended."""
        self._send("phase_ended", name, seconds)

    def case(self, case: Case) -> None:
        """Tell what one case found."""
        self._send("case", case.model_dump(mode="json"))

    def check_ended(self, check: Check) -> None:
        """Tell what a check found."""
        self._send("check_ended", check.model_dump(mode="json", exclude={"plots"}))

    def live(self, text: str) -> None:
        """Tell how far the check is."""
        self._send("live", text)

    def note(self, text: str) -> None:
        """Tell anything else."""
        self._send("note", text)

    def finished(self, report: Report, report_dir: Path | None) -> None:
        """Tell nothing: the report itself goes."""

    def _send(self, event: str, *values: Any) -> None:
        self._lines.write(json.dumps([event, *values]))


def replay(line: bytes, progress: Progress) -> Check | None:
    """Tell what a line says; return the check that it ends.

    What is no event is shown as it is: a warning of Python, or a word of the host's shell.
    """
    text = line.decode("utf-8", "replace").strip()
    if not text:
        return None
    try:
        event, *values = json.loads(text)
        return _told(event, values, progress)
    except (ValueError, TypeError, ValidationError):
        progress.note(veiled(text)[:_SHOWN])
        return None


def _told(event: str, values: list[Any], progress: Progress) -> Check | None:
    match event, values:
        case "check_ended", [dict(told)]:
            check = Check.model_validate(told)
            progress.check_ended(check)
            return check
        case "case", [dict(told)]:
            progress.case(Case.model_validate(told))
        case "live" | "note", [str(text)]:
            getattr(progress, event)(veiled(text))
        case "check_started" | "phase_started", [str(name), None | int() | float() as budget]:
            getattr(progress, event)(name, budget)
        case "phase_ended", [str(name), int() | float() as seconds]:
            progress.phase_ended(name, seconds)
        case _:
            raise ValueError(event)
    return None
