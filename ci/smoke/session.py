"""One pytest session against one server: names its cases, records them, notices its death."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from ci.engines import profile
from ci.errors import KeyRefused
from ci.report.model import Case
from ci.smoke import ANSWERS, SUITE
from ci.smoke.record import Journal, PhaseRecord, first_line, found_in, skip_reason, skipped
from ci.smoke.server import Server
from ci.smoke.transport import blame, explain, open_client
from ci.verdict import Outcome

PULSE_TIMEOUT = 5.0
"""Most seconds until a live server has answered with one token."""

SERVER = pytest.StashKey[Server]()
"""What the fixture `server` found."""

REFUSED = pytest.StashKey[list[KeyRefused]]()
"""The answers to the running case's own requests that ask for another API key."""

_FOUND = pytest.StashKey[list[PhaseRecord]]()
_SEVERITY = (Outcome.FAILED, Outcome.ERROR, Outcome.SKIPPED, Outcome.PASSED)


class Recorder:
    """The hooks that turn pytest's reports into cases."""

    def __init__(self, config: pytest.Config) -> None:
        """Open the results file, where one was asked for."""
        path: Path | None = config.getoption("--sglang-results")
        progress = config.getoption("--sglang-progress")
        self._config = config
        self._journal = Journal(path, progress=progress) if path else None
        self._names: dict[str, str] = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Count the cases before any is left out."""
        self._progress(found=len(items))

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Name the cases."""
        self._names = case_names(session.items)
        self._progress(collected=len(session.items))

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Say which case runs."""
        self._config.stash.get(REFUSED, []).clear()
        self._progress(running=self._name(nodeid))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Gather what each phase of a test showed, and write the case after the last."""
        report = yield
        error = call.excinfo.value if call.excinfo else None
        packaged = _is_packaged(item.path)
        found = self._judgeable(found_in(report, error, self._host, packaged=packaged))
        phases = item.stash.setdefault(_FOUND, [])
        phases.append(replace(found, seconds=report.duration))
        if report.when == "teardown":
            self._end(item, phases)
            phases.clear()
        return report

    def pytest_exception_interact(
        self,
        node: pytest.Item | pytest.Collector,
        call: pytest.CallInfo[object],
        report: pytest.CollectReport | pytest.TestReport,
    ) -> None:
        """Write a file that can't be collected as a case of its own."""
        if isinstance(report, pytest.CollectReport) and call.excinfo:
            message = collect_problem(call.excinfo.value)
            found = PhaseRecord(Outcome.ERROR, message, report.longreprtext)
            self._case(found.case(node.nodeid))

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(
        self, collector: pytest.Collector
    ) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        """Write a file that skips itself as a case of its own."""
        report = yield
        if report.skipped:
            found = skipped(skip_reason(report), packaged=_is_packaged(collector.path))
            self._case(found.case(report.nodeid))
        return report

    def pytest_unconfigure(self) -> None:
        """Close the results file."""
        if self._journal:
            self._journal.close()

    @property
    def _host(self) -> str:
        return httpx.URL(self._config.getoption("--sglang-url")).netloc.decode()

    def _end(self, item: pytest.Item, phases: list[PhaseRecord]) -> None:
        name = self._name(item.nodeid)
        worst = min(phases, key=lambda found: _SEVERITY.index(found.outcome))
        seconds = sum(found.seconds for found in phases)
        self._case(replace(worst, seconds=seconds).case(name))
        known = SERVER in self._config.stash
        if not known and any(found.foreign for found in phases):
            self._stop(item.session, PhaseRecord(worst.outcome, worst.message))
        elif any(found.unanswered for found in phases) and (silence := self._silence(name)):
            self._stop(item.session, silence)

    def _judgeable(self, found: PhaseRecord) -> PhaseRecord:
        """Return what a phase showed; a failure may be no more than an API key that was refused."""
        refused = self._config.stash.get(REFUSED, [])
        if found.outcome is not Outcome.FAILED or not refused:
            return found
        return replace(found, outcome=Outcome.ERROR, message=first_line(str(refused[0])))

    def _stop(self, session: pytest.Session, cause: PhaseRecord) -> None:
        self._case(cause.case(ANSWERS))
        session.shouldstop = cause.message

    def _silence(self, name: str) -> PhaseRecord | None:
        """Ask for one token after a case; return what went wrong, None where the server answers."""
        known = self._config.stash.get(SERVER, None)
        embeds = known is not None and not known.can("generation")
        engine = known.engine if known else profile(self._config.getoption("--sglang-engine"))
        try:
            with open_client(self._config.getoption("--sglang-url"), PULSE_TIMEOUT) as client:
                path, body = engine.one_token(known.model if known else "", generation=not embeds)
                client.post(path, json=body)
        except httpx.TransportError as error:
            cause = f"server stopped answering after {name}: {explain(error)}"
            return PhaseRecord(blame(error), cause)
        return None

    def _name(self, nodeid: str) -> str:
        return self._names.get(nodeid, nodeid)

    def _case(self, case: Case) -> None:
        if self._journal:
            self._journal.case(case)

    def _progress(self, **fact: str | int) -> None:
        if self._journal:
            self._journal.progress(**fact)


def case_names(items: list[pytest.Item]) -> dict[str, str]:
    """Return each item's name in the report, by node id; no two are the same."""
    short = {item.nodeid: _short_name(item) for item in items}
    seen = Counter(short.values())
    return {nodeid: name if seen[name] == 1 else nodeid for nodeid, name in short.items()}


def _short_name(item: pytest.Item) -> str:
    """Name a case of the suite in words, and a user's by its file and function."""
    _, _, inside = item.nodeid.partition("::")
    if not _is_packaged(item.path):
        return f"{item.path.name}::{inside}"
    words = inside.removeprefix("test_")
    function, bracket, parameters = words.partition("[")
    topic = item.path.stem.removeprefix("test_")
    return f"{topic}::{function.replace('_', ' ')}{bracket}{parameters}"


def _is_packaged(path: Path) -> bool:
    return path.is_relative_to(SUITE)


def collect_problem(error: BaseException) -> str:
    """Return one line on why a file can't be collected, with the place where that shows."""
    cause = error.__cause__ or error
    if isinstance(cause, SyntaxError):
        return f"{Path(cause.filename or '?').name}:{cause.lineno}: SyntaxError: {cause.msg}"
    return f"{type(cause).__name__}: {first_line(str(cause))}"
