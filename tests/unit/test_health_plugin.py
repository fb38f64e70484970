"""SGLang's plugin for a drain: what it lets in, what it refuses, and how it ends what is left."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from ci.platform import drain as plugin
from ci.platform import promise
from ci.platform.drain import drain
from ci.platform.gate import PROMISE_PATH, DrainGate, Exchanges, GatedExchange, Message, is_work

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

START: Message = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"text/event-stream; charset=utf-8")],
}


@pytest.fixture
def anyio_backend() -> str:
    """SGLang's own loop is asyncio's."""
    return "asyncio"


class Client:
    """What a client of the server receives."""

    def __init__(self) -> None:
        self.got: list[Message] = []

    async def send(self, message: Message) -> None:
        """Take in a part of an answer."""
        self.got.append(message)

    @property
    def status(self) -> int:
        """The answer's status."""
        return int(self.got[0]["status"])

    @property
    def body(self) -> bytes:
        """The answer's whole body."""
        return b"".join(message.get("body", b"") for message in self.got[1:])


async def nothing() -> Message:
    """Receive nothing."""
    return {}


def app_of(*messages: Message, then: anyio.Event | None = None) -> Any:
    """Return an application that sends messages, and waits for an event before the last."""

    async def app(scope: Message, receive: Any, send: Any) -> None:
        for message in messages[:-1]:
            await send(message)
        if then:
            await then.wait()
        await send(messages[-1])

    return app


async def ask(
    app: Any, exchanges: Exchanges, *, draining: bool, method: str = "POST", path: str = "/generate"
) -> Client:
    """Send one request through a gate."""
    client = Client()
    gate = DrainGate(app, lambda: draining, exchanges, 20.0)
    await gate({"type": "http", "method": method, "path": path}, nothing, client.send)
    return client


WHOLE = (START, {"type": "http.response.body", "body": b"data: {}\n\n"})


@pytest.mark.parametrize(
    ("method", "path", "work"),
    [
        ("POST", "/generate", True),
        ("POST", "/v1/chat/completions", True),
        ("PUT", "/anything", True),
        ("GET", "/health", False),
        ("HEAD", "/metrics", False),
        ("OPTIONS", "/generate", False),
        ("POST", "/abort_request", False),
    ],
)
async def test_what_is_refused_after_sigterm(method: str, path: str, *, work: bool) -> None:
    """New work drains for ever, or a draining server can't be looked at."""
    assert is_work(method, path) is work
    client = await ask(app_of(*WHOLE), Exchanges(), draining=True, method=method, path=path)
    assert client.status == (503 if work else 200)


async def test_refusal_can_be_retried() -> None:
    """A router takes the refusal for an answer, or keeps the connection to a dying server."""
    client = await ask(app_of(*WHOLE), Exchanges(), draining=True)
    headers = dict(client.got[0]["headers"])
    assert headers[b"retry-after"] == b"1"
    assert headers[b"connection"] == b"close"
    assert int(headers[b"content-length"]) == len(client.body)
    assert json.loads(client.body)["error"]["code"] == 503


async def test_before_sigterm_nothing_is_changed() -> None:
    """The plugin changes answers of a server that doesn't drain."""
    exchanges = Exchanges()
    client = await ask(app_of(*WHOLE), exchanges, draining=False)
    assert client.got == list(WHOLE)
    assert not exchanges


async def test_a_server_says_that_it_drains() -> None:
    """Nobody outside can tell a server that drains as promised from one that doesn't."""
    client = await ask(app_of(*WHOLE), Exchanges(), draining=False, method="GET", path=PROMISE_PATH)
    assert client.status == 200
    assert json.loads(client.body) == {"seconds": 20.0}


async def test_answer_ends_with_its_last_part() -> None:
    """A drain lasts for as long as SGLang's clean-up after a stream, seconds each."""
    exchanges, goes_on = Exchanges(), anyio.Event()

    async def app(scope: Message, receive: Any, send: Any) -> None:
        for message in WHOLE:
            await send(message)
        assert not exchanges
        goes_on.set()

    await ask(app, exchanges, draining=False)
    assert goes_on.is_set()


@pytest.mark.parametrize(
    ("begins", "check"),
    [
        (
            True,
            lambda client: client.body.endswith(b"data: [DONE]\n\n") and b"error" in client.body,
        ),
        (False, lambda client: client.status == 503),
    ],
    ids=["a stream gets a last event", "a silent request gets 503"],
)
async def test_what_hangs_is_ended(
    monkeypatch: pytest.MonkeyPatch,
    begins: bool,  # noqa: FBT001
    check: Callable[[Client], bool],
) -> None:
    """With a hung scheduler streams are cut without a word."""
    monkeypatch.setattr(plugin, "ABORT_SECONDS", 0.01)
    exchanges, client, aborted = Exchanges(), Client(), []
    hung = app_of(*((START,) if begins else ()), WHOLE[1], then=anyio.Event())
    scope: Message = {"type": "http", "method": "POST", "path": "/generate"}
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(DrainGate(hung, bool, exchanges, 20.0), scope, nothing, client.send)
        await anyio.lowlevel.checkpoint()
        await anyio.wait_all_tasks_blocked()
        assert not await drain(exchanges, lambda: aborted.append(1), 0.01)
        tasks.cancel_scope.cancel()
    assert aborted == [1]
    assert check(client)


async def test_nothing_follows_the_last_event() -> None:
    """What a hung stream still says comes after its end, and breaks the connection."""
    client = Client()
    exchange = GatedExchange(client.send, lambda _: None)
    await exchange.send(START)
    await exchange.close()
    await exchange.send(WHOLE[1])
    assert client.body.count(b"data: ") == 2


async def test_idle_server_drains_at_once() -> None:
    """An idle server is aborted, or waits for its limit."""
    with anyio.fail_after(5):
        assert await drain(Exchanges(), lambda: pytest.fail("aborted"), 3600)


async def test_aborted_requests_are_a_good_end() -> None:
    """A scheduler that works is taken for one that hangs, and killed."""
    exchanges, leave = Exchanges(), anyio.Event()
    client = Client()
    gate = DrainGate(app_of(*WHOLE, then=leave), bool, exchanges, 20.0)
    scope: Message = {"type": "http", "method": "POST", "path": "/generate"}
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(gate, scope, nothing, client.send)
        await anyio.wait_all_tasks_blocked()
        assert await drain(exchanges, leave.set, 0.01)
    assert client.got == list(WHOLE)


def test_no_plugin_where_nobody_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that launch.sh did not start, or an embedded engine, is changed."""
    monkeypatch.delenv(promise.SECONDS, raising=False)
    plugin.activate()


def test_other_sglang_still_starts(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An SGLang of another make doesn't start because its drain can't be changed."""
    monkeypatch.setenv(promise.SECONDS, "nonsense")
    monkeypatch.setattr(plugin, "_resolved_once", False)
    plugin._resolved(None, None)
    assert "does not fit this version" in caplog.text


class OwnEnd:
    """What SGLang's `tokenizer_manager` uses for its own end."""

    def __init__(self) -> None:
        self.killed: list[tuple[int, bool, dict[str, Any]]] = []

    def kill_process_tree(self, pid: int, include_parent: bool = True, **options: Any) -> None:  # noqa: FBT001, FBT002
        """Keep whom it would kill."""
        self.killed.append((pid, include_parent, options))

    def collect_scheduler_processes(self) -> list[str]:
        """Return a scheduler that never leaves."""
        return ["hangs"]


async def test_a_server_that_would_kill_itself_ends_with_0() -> None:
    """SGLang before 0.5.19 kills itself with its children: every drain ends with -9."""
    module = OwnEnd()
    plugin.own_end(module, None)
    with pytest.raises(SystemExit) as left:
        module.kill_process_tree(os.getpid(), include_parent=True)
    assert left.value.code == 0
    module.kill_process_tree(os.getpid(), include_parent=False, wait_timeout=60)
    module.kill_process_tree(1)
    assert module.killed == [
        (os.getpid(), False, {}),
        (os.getpid(), False, {"wait_timeout": 60}),
        (1, True, {}),
    ]
    assert module.collect_scheduler_processes() == ["hangs"]


async def test_a_scheduler_that_hangs_is_waited_for_no_longer() -> None:
    """SGLang before 0.5.20 waits 15 s for it, and the platform's grace is over."""
    module = OwnEnd()
    plugin.own_end(module, 0.05)
    assert module.collect_scheduler_processes() == ["hangs"]
    await anyio.sleep(0.06)
    assert module.collect_scheduler_processes() == []


class WarmingUp:
    """Names of SGLang's HTTP server by which it warms itself up, which needs `done`."""

    def __init__(self) -> None:
        self.done, self.killed, self.asked = threading.Event(), 0, 0

    def _wait_and_warmup(self, asked: int) -> None:
        self.asked = asked
        if not self.done.wait(30):
            self.kill_process_tree(os.getpid())

    def kill_process_tree(self, _: int) -> None:
        """Count, in place of killing."""
        self.killed += 1


async def test_a_warm_up_is_waited_for_until_the_server_is_told_to_end() -> None:
    """The server answers before it is warm, or SIGTERM waits for two minutes."""
    module, draining = WarmingUp(), threading.Event()
    plugin.warm_until(module, draining.is_set)
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.to_thread.run_sync, module._wait_and_warmup, 3)
            await anyio.sleep(0.3)
            assert module.asked == 3
            draining.set()
    module.done.set()


async def test_a_warm_up_that_is_refused_kills_no_draining_server() -> None:
    """SIGTERM while the server warms itself up cuts what it has accepted."""
    module, draining = WarmingUp(), threading.Event()
    plugin.warm_until(module, draining.is_set)
    module.kill_process_tree(os.getpid())
    assert module.killed == 1
    draining.set()
    module.kill_process_tree(os.getpid())
    assert module.killed == 1
