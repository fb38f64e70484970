"""Health as a whole: probes are asked, faults brought about, and files left, on a fake server."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import httpx
import pytest

from ci.errors import CheckBroken
from ci.health.check import FaultFindings, check_health
from ci.health.drain import Drains, check_drain
from ci.health.experiments import HUNG
from ci.health.probes import KINDS, ProbeAnswer, ask
from ci.health.servers import Servers
from ci.health.targets import FaultTarget, ProcessState
from ci.report.model import Case, Check
from ci.settings.health import DrainSettings, HealthSettings
from ci.verdict import Outcome, Verdict
from tests.fakes.sglang import FakeSglang
from tests.unit.judged import check_of, replay

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

FAST = HealthSettings(
    timeout=20,
    patience=30,
    interval=0.05,
    calm=0.1,
    observe=1.0,
    load=1.0,
    recover=20,
    exit=20,
    streams=2,
    tokens=2,
    prompts=1,
    prompt_tokens=10,
)


@pytest.fixture
def server() -> Iterator[FakeSglang]:
    """A server that is well."""
    with FakeSglang() as running:
        yield running


class FakeTarget:
    """The processes of a fake server: a signal gives it a fault, or takes it."""

    def __init__(self, server: FakeSglang, *, immune: bool = False) -> None:
        self.url, self._server, self._immune = server.url, server, immune
        self.sent: list[tuple[str, signal.Signals]] = []

    async def send(self, role: str, number: signal.Signals) -> None:
        """Serve no request, go on, or end."""
        self.sent.append((role, number))
        if number == signal.SIGCONT:
            self._server.faults.clear()
        elif not self._immune:
            self._server.faults.add("unavailable" if number == signal.SIGSTOP else "reset")

    async def state(self) -> ProcessState:
        """Return that it is gone once it was killed or asked to end."""
        gone = {signal.SIGKILL, signal.SIGTERM} & {number for _, number in self.sent}
        return ProcessState(not gone, -9 if gone else None, ())


async def judged(
    url: str, target: FaultTarget | None, folder: Path, settings: HealthSettings = FAST
) -> tuple[Check, list[Case]]:
    """Return the check of a server, and the cases that were told meanwhile."""
    told: list[Case] = []
    found = FaultFindings(url, settings, told.append, lambda _: None)
    with anyio.fail_after(60):
        async with Servers(None, target) as servers:
            result = await check_health(found, servers, folder)
            return check_of("health", replay(told, result)), told


def outcomes(check: Check) -> dict[str, Outcome]:
    """Return each case's outcome."""
    return {case.name: case.outcome for case in check.cases}


def left_in(folder: Path) -> set[str]:
    """Return the names of a folder's files."""
    return {path.name for path in folder.iterdir()}


@pytest.mark.long
async def test_whole_check_of_a_good_server(server: FakeSglang, tmp_path: Path) -> None:
    """Some fault is not brought about, or what was seen of it isn't kept."""
    target = FakeTarget(server)
    check, told = await judged("", target, tmp_path)
    assert check.verdict is Verdict.PASSED, check.cause
    assert list(check.cases) == told
    assert [role for role, number in target.sent if number == signal.SIGSTOP] == list(HUNG.values())
    assert len([number for _, number in target.sent if number == signal.SIGCONT]) == len(HUNG)
    skipped = [case.name for case in check.cases if case.outcome is Outcome.SKIPPED]
    assert skipped == ["detokenizer killed"]  # the only server has ended before
    names = {"truth.md", "answers.jsonl", "probes.yaml", "compose.yaml"}
    assert left_in(tmp_path) == names
    assert {"advice", "scheduler stopped: /health"} <= set(check.facts)
    assert len(check.phases) == 7


async def test_fault_that_nobody_sees_fails(server: FakeSglang, tmp_path: Path) -> None:
    """A server passes whose probe says that it is well although it is not."""
    only = FAST.model_copy(update={"faults": ("scheduler stopped",)})
    check, _ = await judged("", FakeTarget(server, immune=True), tmp_path, only)
    assert outcomes(check)["scheduler stopped: shown in time"] is Outcome.FAILED


@pytest.mark.long
async def test_without_processes_only_the_harmless(server: FakeSglang, tmp_path: Path) -> None:
    """By its URL alone a server is said to tell the truth under faults that it never had."""
    check, _ = await judged(server.url, None, tmp_path)
    found = outcomes(check)
    left_out = [name for name, outcome in found.items() if outcome is Outcome.SKIPPED]
    assert left_out == [*HUNG, "scheduler killed", "detokenizer killed"]
    assert found["saturation: no false alarm"] is Outcome.PASSED
    assert "advice" not in check.facts


async def test_fresh_servers_for_deadly_faults(server: FakeSglang, tmp_path: Path) -> None:
    """A fault is brought about at a server that another one has ended."""
    opened: list[str] = []

    @asynccontextmanager
    async def fresh(purpose: str) -> AsyncIterator[FaultTarget]:
        opened.append(purpose)
        server.faults.clear()
        yield FakeTarget(server)
        opened.append("ended")

    kills = ("scheduler killed", "detokenizer killed")
    settings = FAST.model_copy(update={"faults": kills})
    told: list[Case] = []
    found = FaultFindings("", settings, told.append, lambda _: None)
    with anyio.fail_after(60):
        async with Servers(fresh) as servers:
            result = await check_health(found, servers, tmp_path)
    check = check_of("health", replay(told, result))
    assert opened == [kills[0], "ended", kills[1], "ended"]
    assert check.verdict is Verdict.PASSED, check.cause


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("fault", "good", "status"), [("", True, 200), ("hang", False, 0)], ids=["well", "hung"]
)
async def test_probes(
    server: FakeSglang, kind: str, fault: str, *, good: bool, status: int
) -> None:
    """A probe reads a hung server as well, or waits for it without a limit."""
    server.faults.update({fault} - {""})
    async with httpx.AsyncClient(base_url=server.url, trust_env=False) as client:
        answer = await ask(client, kind, 0.3 if fault else 10)
    if kind == "models":
        good, status = True, 200
    assert (answer.good, answer.status) == (good, status)
    assert answer.seconds < 10


@pytest.mark.parametrize("fault", ["malformed_json", "ignores_limit", "unavailable", "reset"])
async def test_answer_without_a_token_is_no_good_one(server: FakeSglang, fault: str) -> None:
    """A 200 without a token reads as a healthy server."""
    server.faults.add(fault)
    async with httpx.AsyncClient(base_url=server.url, trust_env=False) as client:
        answer: ProbeAnswer = await ask(client, "request", 10)
    assert not answer.good


async def test_drain_of_a_server_that_accepts_on(server: FakeSglang) -> None:
    """New work after SIGTERM, or a drain that nobody saw, passes."""
    settings = DrainSettings(grace=2, streams=2, tokens=2, interval=0.02, settle=0.02)
    only = settings.model_copy(update={"scenarios": ("streams",)})
    target = FakeTarget(server, immune=True)

    async def runs_on() -> ProcessState:
        return ProcessState(running=True, exit_code=None, processes=())

    target.state = runs_on  # type: ignore[method-assign]
    told: list[Case] = []
    found = Drains(only, told.append, lambda _: None)
    with anyio.fail_after(60):
        async with Servers(None, target) as servers:
            result = await check_drain(found, servers)
    judged = outcomes(check_of("drain", replay(told, result)))
    assert judged["streams: new requests are refused"] is Outcome.FAILED
    assert judged["streams: exits in time"] is Outcome.FAILED
    assert target.sent == [("parent", signal.SIGTERM)]


@pytest.mark.long
async def test_a_hung_server_is_late_and_its_scheduler_gone(server: FakeSglang) -> None:
    """A server that has killed its hung scheduler, and still goes, makes the check an ERROR."""
    only = DrainSettings(grace=1, streams=1, tokens=2, interval=0.1, scenarios=("hung scheduler",))
    target = FakeTarget(server, immune=True)

    async def runs_on() -> ProcessState:
        return ProcessState(running=True, exit_code=None, processes=())

    async def send(role: str, number: signal.Signals) -> None:
        if number is signal.SIGCONT:
            raise CheckBroken("no process of the role scheduler")

    target.state, target.send = runs_on, send  # type: ignore[method-assign]
    told: list[Case] = []
    with anyio.fail_after(60):
        async with Servers(None, target) as servers:
            result = await check_drain(Drains(only, told.append, lambda _: None), servers)
    judged = outcomes(check_of("drain", replay(told, result)))
    assert judged["hung scheduler: exits in time"] is Outcome.FAILED


async def test_drain_needs_a_process() -> None:
    """A server that was not asked to end is said to end well."""
    told: list[Case] = []
    found = Drains(DrainSettings(), told.append, lambda _: None)
    async with Servers(None) as servers:
        result = await check_drain(found, servers)
    check = check_of("drain", replay(told, result))
    assert check.verdict is Verdict.ERROR
    assert set(outcomes(check).values()) == {Outcome.SKIPPED}
