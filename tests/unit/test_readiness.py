"""Readiness: each phase has its budget and its name, and every death its cause."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from ci.checks import readiness
from ci.checks.readiness import Readiness
from ci.concurrency import one_error
from ci.platform import TINY_MODEL
from ci.report.model import Case, Check
from ci.server import process as processes
from ci.server.log import ENDED, ServerLog
from ci.server.port import reserved
from ci.server.process import Launch, ServerProcess, running
from ci.settings import ReadinessSettings
from ci.verdict import Outcome, Verdict
from tests.fakes.faulty import Behaviour, Connection, closed_port, listening, response
from tests.fakes.launched import Plan, install
from tests.fakes.sglang import FakeSglang, Settings
from tests.live.quiet import Quiet

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

HANG = 60.0
"""Most seconds before a check counts as hung."""
LONG, SHORT = 30.0, 0.4
PHASES = ["process started", "port open", "serving", "first token"]


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Believe sooner what real servers need seconds for."""
    monkeypatch.setattr(readiness, "STRANGER_SECONDS", 0.3)
    monkeypatch.setattr(readiness, "GONE_SECONDS", 0.2)
    monkeypatch.setattr(processes, "KILL_GRACE", 0.2)


def budgets(**short: float) -> ReadinessSettings:
    """Return long budgets, but for those that are named."""
    names = ("process_started", "port_open", "serving", "first_token")
    return ReadinessSettings(**(dict.fromkeys(names, LONG) | short))


async def check(url: str, at: ReadinessSettings | None = None, **known: Any) -> Check:
    """Wait for the server at `url`, and hold what every such check must show."""
    told: list[Case] = []
    with anyio.fail_after(HANG):
        found = await Readiness(url, at or budgets(), Quiet(), told.append, **known).check()
    assert tuple(told) == found.cases
    outer = [phase for phase in found.phases if not phase.within]
    assert [phase.name for phase in outer] == [case.name for case in found.cases]
    assert all(case.outcome is Outcome.PASSED for case in found.cases[:-1])
    assert len(found.cause.splitlines()) <= 1
    return found


def last(found: Check) -> str:
    """Return the name of the phase at which a check ended."""
    return found.cases[-1].name


async def test_a_good_server_passes_all_phases() -> None:
    """A good server isn't ready, or its timeline has gaps."""
    with FakeSglang(Settings(ready_after=0.3)) as server:
        found = await check(server.url)
    assert found.verdict is Verdict.PASSED
    assert [phase.name for phase in found.phases] == PHASES[1:]
    assert [phase.budget for phase in found.phases] == [LONG] * 3
    ends = [phase.start + phase.seconds for phase in found.phases]
    assert [phase.start for phase in found.phases] == pytest.approx([0, *ends[:-1]], abs=0.05)
    assert found.phases[1].seconds >= 0.2
    assert found.log == ""


async def test_each_phase_names_itself_when_its_budget_is_spent() -> None:
    """A slow server is waited for without end, or nobody learns what it was slow at."""
    found = await check(f"http://127.0.0.1:{closed_port()}", budgets(port_open=SHORT))
    assert found.cause.startswith("port open: not ready: phase 'port open' took over 0.4 s: ")
    assert "nothing listens at http://127.0.0.1:" in found.cause
    assert "(connection refused)" in found.cause
    with FakeSglang(Settings(ready_after=LONG)) as server:
        found = await check(server.url, budgets(serving=SHORT))
    assert found.cause.startswith("serving: not ready: phase 'serving' took over 0.4 s: ")
    assert "/ready answers 503" in found.cause
    with FakeSglang(faults=["hang"]) as server:
        found = await check(server.url, budgets(first_token=SHORT))
    assert found.cause.startswith("first token: not ready: phase 'first token' took over 0.4 s: ")
    assert "one token was asked for and none came" in found.cause
    assert found.verdict is Verdict.FAILED


async def test_a_server_that_opens_its_port_late() -> None:
    """A server that isn't there at the first look is given up."""
    port = closed_port()

    async def later() -> None:
        await anyio.sleep(0.3)
        servers.append(FakeSglang(Settings(port=port)).__enter__())

    servers: list[FakeSglang] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(later)
        assert (await check(f"http://127.0.0.1:{port}")).verdict is Verdict.PASSED
    servers[0].__exit__(None, None, None)


async def test_a_proxy_that_listens_for_a_server_which_is_not_there_yet(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A container's published port counts as open, and then its server as dead."""
    monkeypatch.setattr(readiness, "PROXY_SECONDS", 5.0)
    with listening(lambda _: None) as url:
        found = await check(url, budgets(port_open=SHORT))
    assert "connections are cut at once" in found.cause
    assert last(found) == "port open"


async def test_a_burst_of_5xx_is_waited_for() -> None:
    """A server that answers 503 while it warms up is FAILED."""
    with FakeSglang(faults=["unavailable"]) as server:

        async def recover() -> None:
            await anyio.sleep(1.0)
            server.faults.clear()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(recover)
            found = await check(server.url)
    assert found.verdict is Verdict.PASSED
    assert found.phases[-1].seconds > 0.5


Pages = dict[str, tuple[int, dict[str, Any]]]
SERVING: Pages = {
    "/model_info": (200, {"model_path": "/m", "is_generation": True}),
    "/ready": (200, {}),
    "/generate": (200, {"meta_info": {"completion_tokens": 1}}),
}


def pages(of: Pages) -> Behaviour:
    """Return a behaviour: one answer a path, 404 for others."""

    def behave(connection: Connection) -> None:
        status, body = of.get(connection.request(), (404, {}))
        connection.send(response(status, json.dumps(body)))

    return behave


async def test_an_older_server_without_ready() -> None:
    """A server that has no `/ready` is never ready, or is ready before it is healthy."""
    without: Pages = {path: page for path, page in SERVING.items() if path != "/ready"}
    with listening(pages(without | {"/health": (200, {})})) as url:
        assert (await check(url)).verdict is Verdict.PASSED
    with listening(pages(without | {"/health": (503, {})})) as url:
        found = await check(url, budgets(serving=SHORT))
    assert "/health answers 503" in found.cause


async def test_an_embedding_model_is_asked_for_an_embedding() -> None:
    """A server that makes embeddings never has its first token."""
    with FakeSglang(Settings(embedding=True)) as server:
        assert (await check(server.url)).verdict is Verdict.PASSED
        assert "/v1/embeddings" in server.asked
        assert "/generate" not in server.asked


async def test_an_answer_without_a_token_fails() -> None:
    """A server that answers with nothing has had its first token."""
    broken: Pages = SERVING | {"/generate": (200, {"meta_info": {"completion_tokens": 0}})}
    with listening(pages(broken)) as url:
        found = await check(url)
    assert last(found) == "first token"
    assert "one token was asked for, completion_tokens is 0" in found.cause


def changing(*steps: tuple[int, Behaviour]) -> Behaviour:
    """Return a behaviour that goes through steps, each for a number of connections."""
    left = [behave for count, behave in steps for _ in range(count)]

    def behave(connection: Connection) -> None:
        (left.pop(0) if len(left) > 1 else left[0])(connection)

    return behave


async def test_a_stranger_now_and_then_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gateway that mixes its own 404 and 503 pages while a server starts makes it FAILED."""
    monkeypatch.setattr(readiness, "STRANGER_SECONDS", 0.12)
    odd = pages({})
    starting = pages({"/model_info": (503, {})})
    steps = [(1, odd), (1, starting)] * 10
    with listening(changing((1, odd), *steps, (1, pages(SERVING)))) as url:
        assert (await check(url)).verdict is Verdict.PASSED


async def test_a_cut_now_and_then_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """One connection that is cut, seconds after another one, counts as the server's death."""
    monkeypatch.setattr(readiness, "GONE_SECONDS", 0.12)
    starting = pages(SERVING | {"/ready": (503, {})})
    steps = [(2, starting), (1, lambda connection: connection.request())] * 10
    with listening(changing((2, starting), *steps, (1, pages(SERVING)))) as url:
        assert (await check(url)).verdict is Verdict.PASSED


@contextmanager
def vanishing(fake: FakeSglang) -> Iterator[Callable[[], None]]:
    """Yield a function that closes the server's port at once."""
    with ExitStack() as stack:
        stack.enter_context(fake)
        yield stack.close


@pytest.mark.parametrize(
    ("fake", "phase"),
    [
        (FakeSglang(Settings(ready_after=LONG)), "serving"),
        (FakeSglang(faults=["unavailable"]), "first token"),
    ],
)
async def test_a_port_that_closes_again_is_a_death(fake: FakeSglang, phase: str) -> None:
    """A server that died behind a URL is waited for until its budget is spent."""
    with vanishing(fake) as close:

        async def end() -> None:
            await anyio.sleep(0.3)
            await anyio.to_thread.run_sync(close)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(end)
            found = await check(fake.url)
    assert last(found) == phase
    assert f"server exited in phase '{phase}': its port was open, and now http" in found.cause
    assert "connection refused" in found.cause


@pytest.mark.parametrize(
    ("fake", "phase"),
    [
        (None, "port open"),
        (FakeSglang(Settings(ready_after=LONG)), "serving"),
        (FakeSglang(faults=["hang"]), "first token"),
    ],
)
async def test_the_end_of_the_log_is_a_death(fake: FakeSglang | None, phase: str) -> None:
    """A server in another container dies, and is waited for until its budget is spent."""
    log = ServerLog(anyio.current_time())

    async def end() -> None:
        await anyio.sleep(0.3)
        for line in ("OSError: the reason", ENDED):
            log.add(line, anyio.current_time())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(end)
        if fake is None:
            found = await check(f"http://127.0.0.1:{closed_port()}", log=log)
        else:
            with fake:
                found = await check(fake.url, log=log)
    assert found.cause == f"{phase}: server exited in phase '{phase}': OSError: the reason"
    assert ENDED in found.log


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Callable[[Plan], Launch]]:
    """Return a function that says how the fake SGLang of a plan is launched on a free port."""
    with reserved("127.0.0.1", 0) as port:

        def of(plan: Plan) -> Launch:
            environment = install(tmp_path / "installed", plan)
            return Launch(TINY_MODEL, "127.0.0.1", port, "cpu", environment=environment)

        yield of


async def launched(launch: Launch, at: ReadinessSettings | None = None) -> Check:
    """Start a server, check it, and end it."""
    with one_error():
        async with running(launch) as server:
            return await _check_process(server, at)


async def _check_process(server: ServerProcess, at: ReadinessSettings | None) -> Check:
    return await check(server.url, at, process=server, log=server.log)


Launched = Callable[[Plan], Launch]


async def test_a_server_of_our_own_passes_all_phases(launch: Launched) -> None:
    """The phase of launch.sh, or what the log tells of the start, is missing."""
    found = await launched(launch(Plan(open_after=0.2, ready_after=0.2)))
    assert found.verdict is Verdict.PASSED, found.cause
    assert [case.name for case in found.cases] == PHASES
    assert [phase.name for phase in found.phases if phase.within] == ["arguments"]


@pytest.mark.parametrize(
    ("plan", "phase"),
    [
        (Plan(open_after=LONG, dies_after=0.5), "port open"),
        (Plan(ready_after=LONG, dies_on="/ready"), "serving"),
        (Plan(faults=("hang",), dies_on="/generate"), "first token"),
    ],
)
@pytest.mark.parametrize(("code", "how"), [(3, "3"), (-9, "-9")])
async def test_a_death_in_each_phase(
    launch: Launched, plan: Plan, phase: str, code: int, how: str
) -> None:
    """A server that dies while it starts is waited for, or its exit code or reason is lost."""
    words = "ValueError: the reason"
    plan = Plan(**(vars(plan) | {"exit_code": code, "last_words": words}))
    found = await launched(launch(plan))
    assert last(found) == phase
    assert found.cause.startswith(f"{phase}: server exited with {how} in phase '{phase}': ")
    assert found.cause.endswith(words)
    assert words in found.log
    assert words in found.cases[-1].details


async def test_a_refusal_of_launch_sh_is_told_in_its_words(launch: Launched) -> None:
    """A missing model reads as a server that died, or as one that is slow."""
    good = launch(Plan())
    model = Path("/no/such/model")
    found = await launched(Launch(model, good.host, good.port, environment=good.environment))
    assert last(found) == "process started"
    assert found.cause.startswith("process started: launch.sh: no such model folder: /no/such")
    assert found.verdict is Verdict.FAILED


async def test_a_launch_that_hangs_names_its_phase(launch: Launched, tmp_path: Path) -> None:
    """A machine on which launch.sh itself hangs is waited for as long as a model may load."""
    slow = tmp_path / "python"
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    slow.chmod(0o755)
    good = launch(Plan())
    stuck = Launch(TINY_MODEL, good.host, good.port, python=str(slow))
    found = await launched(stuck, budgets(process_started=SHORT))
    assert last(found) == "process started"
    assert "launch.sh has not handed over to SGLang" in found.cause


async def test_a_stranger_on_the_port_is_never_taken_for_our_server(launch: Launched) -> None:
    """A stale server on the port is proven in place of the one that was started."""
    ours = launch(Plan(open_after=LONG))
    async with running(ours) as server:
        with anyio.fail_after(HANG):
            while not server.has_started():
                await anyio.sleep(0.01)
        with FakeSglang(Settings(port=ours.port)):
            found = await _check_process(server, None)
    assert found.verdict is Verdict.ERROR
    assert last(found) == "port open"
    assert f"port {ours.port} was taken by another process" in found.cause


async def test_polling_is_light() -> None:
    """Waiting for a model to load keeps a core busy, or floods a gateway's log."""
    with FakeSglang(Settings(ready_after=LONG)) as server:
        before = os.times()
        await check(server.url, budgets(serving=1.0))
        asked = len(server.asked)
    used = sum(os.times()[:2]) - sum(before[:2])
    assert 5 <= asked <= 45
    assert used < 0.8
