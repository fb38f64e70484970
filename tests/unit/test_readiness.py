"""Readiness: each phase has its budget and its name, and every death its cause."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from ci.boot import listening as tunnels
from ci.boot import polling
from ci.boot.log import BEGAN, BOOT, ENDED, ServerLog, follow
from ci.platform import fork
from ci.settings import ReadinessSettings
from ci.verdict import Verdict
from tests.fakes.faulty import Behaviour, Connection, closed_port, listening, response
from tests.fakes.sglang import FakeSglang, Settings
from tests.unit.waiting import LONG, PHASES, SHORT, budgets, check, last

pytestmark = [pytest.mark.unit, pytest.mark.anyio, pytest.mark.usefixtures("impatient")]


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


def closing_late(connection: Connection) -> None:
    """Cut the connection after a moment, whatever is said on it."""
    connection.closing.wait(0.1)


TUNNELS: dict[str, Behaviour] = {"a published port": lambda _: None, "ssh -L": closing_late}


@pytest.mark.parametrize("tunnel", TUNNELS.values(), ids=TUNNELS)
async def test_a_tunnel_whose_server_still_loads_is_waited_for(
    tunnel: Behaviour, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tunnel's port counts as open, and then its server as dead or as no HTTP server."""
    monkeypatch.setattr(tunnels, "STRANGER_SECONDS", 10.0)
    with listening(tunnel) as url:
        found = await check(url, budgets(port_open=2 * SHORT))
    assert "connections are cut" in found.cause
    assert last(found) == "port open"


async def test_a_tunnel_is_open_as_soon_as_its_server_is() -> None:
    """`ssh -L` cuts each connection a moment later while a model loads, and `wait` gives it up."""
    begun: list[float] = []

    def tunnel(connection: Connection) -> None:
        begun.append(time.monotonic())
        there = begun[-1] - begun[0] > 2.5
        (pages(SERVING) if there else closing_late)(connection)

    with listening(tunnel) as url:
        found = await check(url)
    assert found.verdict is Verdict.PASSED
    assert found.phases[0].seconds > 2


async def test_cuts_while_the_server_is_up_are_no_death() -> None:
    """0.7 s of resets on one path are told as the end of a server that is up."""
    begin: list[float] = []

    def resets(connection: Connection) -> None:
        path = connection.request()
        begin[:] = begin or ([time.monotonic()] if path == "/generate" else [])
        if path != "/generate" or time.monotonic() - begin[0] > 5 * polling.GONE_SECONDS:
            status, body = SERVING.get(path, (404, {}))
            connection.send(response(status, json.dumps(body)))

    with listening(resets) as url:
        found = await check(url)
    assert found.verdict is Verdict.PASSED
    assert found.phases[-1].seconds > 4 * polling.GONE_SECONDS


async def test_cuts_that_never_end_are_told_when_the_budget_is_spent() -> None:
    """A server that resets each request for a token is waited for without end."""
    without = {path: page for path, page in SERVING.items() if path != "/generate"}

    def resets(connection: Connection) -> None:
        path = connection.request()
        if path in without:
            connection.send(response(*without[path][:1], json.dumps(without[path][1])))

    with listening(resets) as url:
        found = await check(url, budgets(first_token=SHORT))
    assert found.cause.startswith("first token: not ready: phase 'first token' took over 0.4 s: ")
    assert "connection cut before an answer" in found.cause


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


async def test_prompts_of_the_workloads_lengths_are_asked_for() -> None:
    """A first prompt of a new length stalls for 40 s after the server counted as ready."""
    with FakeSglang() as server:
        found = await check(server.url, ReadinessSettings(prompt_tokens=(7, 1900)))
        assert server.asked.count("/generate") == 3
    assert found.verdict is Verdict.PASSED
    assert [(phase.name, phase.budget) for phase in found.phases[-3:]] == [
        ("first token", 60.0),
        ("prompt of 7 tokens", 60.0),
        ("prompt of 1900 tokens", 60.0),
    ]


async def test_a_prompt_that_stalls_is_no_good_start() -> None:
    """The stall that the setting is there for passes, or the setting to raise isn't named."""
    asked: list[str] = []

    def stalls(connection: Connection) -> None:
        asked.append(path := connection.request())
        connection.closing.wait(10 if asked.count("/generate") > 1 else 0)
        status, body = SERVING.get(path, (404, {}))
        connection.send(response(status, json.dumps(body)))

    at = budgets(first_token=SHORT).model_copy(update={"prompt_tokens": (512,)})
    with listening(stalls) as url:
        found = await check(url, at)
    assert last(found) == "prompt of 512 tokens"
    assert "no token came after a prompt of 512 tokens" in found.cause
    assert "for more time: --set readiness.first_token=SECONDS" in found.cause


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"context_length": 100}, "HTTP 400: "),
        ({"embedding": True, "context_length": 5000}, ""),
    ],
)
async def test_a_prompt_that_the_server_does_not_take(limits: dict[str, Any], words: str) -> None:
    """A server that refuses the workload's prompts passes, or one for embeddings is refused."""
    with FakeSglang(Settings(**limits)) as server:
        found = await check(server.url, ReadinessSettings(prompt_tokens=(512,)))
    assert last(found) == "prompt of 512 tokens"
    assert found.verdict is (Verdict.FAILED if words else Verdict.PASSED)
    assert words in found.cause


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
    monkeypatch.setattr(tunnels, "STRANGER_SECONDS", 0.12)
    odd = pages({})
    starting = pages({"/model_info": (503, {})})
    steps = [(1, odd), (1, starting)] * 5
    with listening(changing((1, odd), *steps, (1, pages(SERVING)))) as url:
        assert (await check(url)).verdict is Verdict.PASSED


async def test_a_server_that_is_asked_too_often_is_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A gateway's 429 for some seconds makes a good server FAILED as something else."""
    monkeypatch.setattr(tunnels, "STRANGER_SECONDS", 0.12)
    page = {"error": "slow down"}
    busy = pages(dict.fromkeys((*SERVING, "/generate"), (429, page)))
    with listening(changing((20, busy), (1, pages(SERVING)))) as url:
        found = await check(url)
        assert found.verdict is Verdict.PASSED, found.cause


async def test_a_cut_now_and_then_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """One connection that is cut, seconds after another one, counts as the server's death."""
    monkeypatch.setattr(polling, "GONE_SECONDS", 0.12)
    starting = pages(SERVING | {"/ready": (503, {})})
    steps = [(2, starting), (1, lambda connection: connection.request())] * 5
    with listening(changing((3, starting), *steps, (1, pages(SERVING)))) as url:
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


async def test_the_log_says_how_processes_began() -> None:
    """Nobody sees that a test server's processes were copies, which no GPU's are."""
    with FakeSglang() as fake:
        for said, told in ("", None), (fork.FORKED, "forked"):
            log = ServerLog(anyio.current_time())
            log.add(said, anyio.current_time())
            assert (await check(fake.url, log=log)).facts.get("processes") == told


async def test_a_dead_server_is_told_before_its_missing_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that died while its prober was being built reads as a host without an address."""
    monkeypatch.setattr(tunnels, "NAME_SECONDS", 3.0)
    path, log = tmp_path / "server.log", ServerLog(anyio.current_time())
    path.write_text(f"{BEGAN}{BOOT.read_text()}OSError: the reason\n")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(follow, path, log)
        found = await check("http://no-such-host.invalid:1", log=log)
        tasks.cancel_scope.cancel()
    assert found.verdict is Verdict.FAILED
    assert found.cause == "port open: server exited in phase 'port open': OSError: the reason"


async def test_polling_is_light() -> None:
    """Waiting for a model to load keeps a core busy, or floods a gateway's log."""
    with FakeSglang(Settings(ready_after=LONG)) as server:
        before = os.times()
        await check(server.url, budgets(serving=1.0))
        asked = len(server.asked)
    used = sum(os.times()[:2]) - sum(before[:2])
    assert 5 <= asked <= 45
    assert used < 0.8
