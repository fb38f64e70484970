"""One pytest session against one server: names its cases, records them, notices its death."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from pathlib import Path

import httpx
import pytest

from ci.errors import NotSglang
from ci.report.model import Case
from ci.smoke import ANSWERS, SUITE
from ci.smoke.record import Found, Journal, first_line, found_in, leaves, skip_reason
from ci.smoke.server import Server
from ci.smoke.transport import explain, open_client
from ci.verdict import Outcome

PULSE_TIMEOUT = 5.0
"""Most seconds until a live server has answered with one token."""

SERVER = pytest.StashKey[Server]()
"""What the fixture `server` found."""

_FOUND = pytest.StashKey[list[tuple[Found, float]]]()
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

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Name the cases."""
        self._names = case_names(session.items)
        self._progress(collected=len(session.items))

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Say which case runs."""
        self._progress(running=self._names[nodeid])

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Gather what each phase of a test showed, and write the case after the last."""
        report = yield
        error = call.excinfo.value if call.excinfo else None
        phases = item.stash.setdefault(_FOUND, [])
        phases.append((found_in(report, error, self._host), report.duration))
        if report.when == "teardown":
            self._end(item, phases)
        if error and any(isinstance(leaf, NotSglang) for leaf in leaves(error)):
            self._stop(item.session, str(error))
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
            self._case(node.nodeid, Found(Outcome.ERROR, message, report.longreprtext))

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Write a file that skips itself as a case of its own."""
        if report.skipped:
            self._case(report.nodeid, Found(Outcome.SKIPPED, skip_reason(report)))

    def pytest_unconfigure(self) -> None:
        """Close the results file."""
        if self._journal:
            self._journal.close()

    @property
    def _host(self) -> str:
        return httpx.URL(self._config.getoption("--sglang-url")).netloc.decode()

    def _end(self, item: pytest.Item, phases: list[tuple[Found, float]]) -> None:
        name = self._names[item.nodeid]
        worst = min((found for found, _ in phases), key=lambda one: _SEVERITY.index(one.outcome))
        self._case(name, worst, sum(seconds for _, seconds in phases))
        if any(found.unanswered for found, _ in phases) and (problem := self._silence()):
            self._stop(item.session, f"server stopped answering after {name}: {problem}")

    def _stop(self, session: pytest.Session, cause: str) -> None:
        self._case(ANSWERS, Found(Outcome.FAILED, cause))
        session.shouldstop = cause

    def _silence(self) -> str:
        """Ask for one token; return what went wrong, empty where the server answers."""
        known = self._config.stash.get(SERVER, None)
        embeds = known is not None and not known.can("generation")
        path = "/v1/embeddings" if embeds else "/generate"
        ask = {"text": "a", "sampling_params": {"max_new_tokens": 1}}
        body = {"model": "default", "input": "a"} if embeds else ask
        try:
            with open_client(self._config.getoption("--sglang-url"), PULSE_TIMEOUT) as client:
                client.post(path, json=body)
        except httpx.TransportError as error:
            return explain(error)
        return ""

    def _case(self, name: str, found: Found, seconds: float = 0.0) -> None:
        if self._journal:
            self._journal.case(
                Case(
                    name=name,
                    outcome=found.outcome,
                    seconds=seconds,
                    message=found.message,
                    details=found.details,
                )
            )

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
    if not item.path.is_relative_to(SUITE):
        return f"{item.path.name}::{inside}"
    words = inside.removeprefix("test_")
    function, bracket, parameters = words.partition("[")
    topic = item.path.stem.removeprefix("test_")
    return f"{topic}::{function.replace('_', ' ')}{bracket}{parameters}"


def collect_problem(error: BaseException) -> str:
    """Return one line on why a file can't be collected, with the place where that shows."""
    cause = error.__cause__ or error
    if isinstance(cause, SyntaxError):
        return f"{Path(cause.filename or '?').name}:{cause.lineno}: SyntaxError: {cause.msg}"
    return f"{type(cause).__name__}: {first_line(str(cause))}"
