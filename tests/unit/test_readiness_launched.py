"""Readiness of a server that this host itself has started: every death has its cause."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import anyio
import httpx
import pytest

from ci.boot.launch import Launch
from ci.boot.port import reserved
from ci.boot.process import ServerProcess, running
from ci.concurrency import one_error
from ci.platform import TINY_MODEL
from ci.report.model import Check
from ci.settings import ReadinessSettings
from ci.verdict import Verdict
from tests.fakes.launched import Plan, install
from tests.fakes.sglang import FakeSglang, Settings
from tests.rare import rare
from tests.unit.waiting import HANG, LONG, PHASES, SHORT, budgets, check, last

pytestmark = [pytest.mark.unit, pytest.mark.anyio, pytest.mark.usefixtures("impatient")]


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
@pytest.mark.parametrize(("code", "how"), rare([(-9, "-9"), (3, "3")]))
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


@pytest.mark.long
async def test_a_killed_server_is_followed_by_another_on_its_port(launch: Launched) -> None:
    """After a kill under open connections the port is refused, or the next server drops some."""
    ours, ask = launch(Plan()), {"text": "a", "sampling_params": {"max_new_tokens": 1}}
    async with running(ours) as server, httpx.AsyncClient(base_url=ours.url) as client:
        assert (await _check_process(server, None)).verdict is Verdict.PASSED
        for _ in range(5):
            assert (await client.post("/generate", json=ask)).status_code == 200
        os.killpg(server.pid, signal.SIGKILL)
        await server.died("serving")
        async with running(ours) as second, httpx.AsyncClient(base_url=ours.url) as other:
            assert (await _check_process(second, None)).verdict is Verdict.PASSED
            answers = [await other.post("/generate", json=ask) for _ in range(200)]
    assert [answer.status_code for answer in answers] == [200] * 200


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
