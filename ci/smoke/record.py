"""From pytest's outcomes to cases: who is to blame, in one line, and where it is written.

An assertion and a fault of the server are FAILED; an error of the test's own code is ERROR.
"""

from __future__ import annotations

import json
import os
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import httpx
import pytest

from ci.concurrency import leaves
from ci.engines.profile import OtherServer
from ci.errors import KeyRefused, NotSglang, SglangCiError
from ci.report.model import Case
from ci.secrets.veil import beginning, ending, learn, learn_environment
from ci.smoke import SECRETS
from ci.smoke.transport import blame, explain
from ci.verdict import Outcome

DETAILS = 16_000
"""Most characters of a traceback that a case keeps: its end."""

LINE = 300
"""Most characters of a case's one line."""


_ASYNC = ("async def functions are not natively supported", "requested an async fixture")
"""How pytest fails what it can't run."""


class Incapable(pytest.skip.Exception):  # type: ignore[name-defined,misc]
    """The server lacks what a case needs: the only reason to skip one of the packaged suite."""


@dataclass(frozen=True)
class PhaseRecord:
    """What one phase of a test (set-up, call, tear-down) showed."""

    outcome: Outcome
    message: str = ""
    details: str = ""
    seconds: float = 0.0
    unanswered: bool = False
    """Whether a request got no whole answer: then the server may be dead."""
    foreign: bool = False
    """Whether the server is none of the engine's, or tells nobody without a key what it is."""

    def case(self, name: str) -> Case:
        """Return this as the case of that name."""
        return Case(
            name=name,
            outcome=self.outcome,
            seconds=self.seconds,
            message=self.message,
            details=self.details,
        )


class Journal:
    """Where cases go as they end: JSON lines, each flushed."""

    def __init__(self, path: Path, *, progress: bool) -> None:
        """Open `path` for appending; with `progress`, lines about running cases go there too.

        From then on no case shows a secret of this process's environment.
        """
        learn_environment(os.environ)
        learn(json.loads(os.environ.pop(SECRETS, "[]")))
        self._file: TextIO = path.open("a", encoding="utf-8")
        self._progress = progress

    def case(self, case: Case) -> None:
        """Write a case that ended."""
        self._line(case.model_dump_json())

    def progress(self, **fact: str | int) -> None:
        """Write a fact for the runner: `collected=`, a count, or `running=`, a name."""
        if self._progress:
            self._line(json.dumps(fact))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _line(self, line: str) -> None:
        self._file.write(f"{line}\n")
        self._file.flush()


def found_in(
    report: pytest.TestReport, error: BaseException | None, host: str, *, packaged: bool = False
) -> PhaseRecord:
    """Return what a phase's report says.

    Args:
        report: pytest's report.
        error: What was raised.
        host: The server's host and port.
        packaged: Whether the case is one of the packaged suite, which may lack nothing but a
            capability of the server.
    """
    if report.passed:
        return PhaseRecord(Outcome.PASSED)
    if report.skipped and isinstance(error, Incapable):
        return PhaseRecord(Outcome.SKIPPED, first_line(str(error)))
    if report.skipped:
        return skipped(skip_reason(report), packaged=packaged)
    details = ending(report.longreprtext, DETAILS)
    if error is None:
        return PhaseRecord(Outcome.FAILED, first_line(details), details)
    outcome, message = min(
        (_blame(leaf, host) for leaf in leaves(error)),
        key=lambda one: one[0] is not Outcome.FAILED,
    )
    causes = [cause for leaf in leaves(error) for cause in _causes(leaf)]
    return PhaseRecord(
        outcome,
        message,
        details,
        unanswered=any(isinstance(cause, httpx.TransportError) for cause in causes),
        foreign=any(isinstance(cause, NotSglang | OtherServer | KeyRefused) for cause in causes),
    )


def skipped(reason: str, *, packaged: bool) -> PhaseRecord:
    """Return a skip for a reason that isn't a capability of the server."""
    if not packaged:
        return PhaseRecord(Outcome.SKIPPED, reason)
    return PhaseRecord(Outcome.ERROR, f"skipped, and not for what the server lacks: {reason}")


def skip_reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    """Return why a test or module was skipped or expected to fail."""
    if expected := getattr(report, "wasxfail", ""):
        return first_line(f"expected to fail: {expected.removeprefix('reason: ')}")
    why = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext
    return first_line(why.removeprefix("Skipped: ")) or "skipped without a reason"


def first_line(text: str) -> str:
    """Return the first line of `text` that isn't empty, without surrounding space, if long cut."""
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return line if len(line) <= LINE else f"{beginning(line, LINE)}…"


def _blame(error: BaseException, host: str) -> tuple[Outcome, str]:
    line = first_line(str(error))
    if isinstance(error, AssertionError | pytest.fail.Exception):
        return _failure(error, line)
    if isinstance(error, SglangCiError):
        return Outcome(error.verdict.value), line
    if isinstance(error, httpx.HTTPError) and _about(error, host):
        return blame(error), explain(error)
    if isinstance(error, json.JSONDecodeError) and _inside_httpx(error):
        return Outcome.FAILED, f"the answer is not JSON: {beginning(error.doc, 80)!r}"
    if isinstance(error, pytest.FixtureLookupError):
        return Outcome.ERROR, f"fixture '{error.argname}' not found"
    return Outcome.ERROR, f"{type(error).__name__}: {line}" if line else type(error).__name__


def _failure(error: BaseException, line: str) -> tuple[Outcome, str]:
    """Blame the server for a failure, but not for what pytest fails because it can't run it."""
    if isinstance(error, pytest.fail.Exception) and any(mark in line for mark in _ASYNC):
        return Outcome.ERROR, "async cases and fixtures need @pytest.mark.anyio on the case"
    return Outcome.FAILED, line or f"assertion failed in {_place(error)}"


def _about(error: httpx.HTTPError, host: str) -> bool:
    """Return whether an error is one of a request to the server, and not of the request itself."""
    if isinstance(error, httpx.UnsupportedProtocol | httpx.LocalProtocolError):
        return False
    try:
        return error.request.url.netloc.decode() == host
    except RuntimeError:
        return False


def _inside_httpx(error: BaseException) -> bool:
    frames = traceback.extract_tb(error.__traceback__)
    return any(frame.name == "json" and "httpx" in frame.filename for frame in frames)


def _place(error: BaseException) -> str:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{Path(frame.filename).name}:{frame.lineno}"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__
