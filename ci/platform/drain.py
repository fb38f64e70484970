"""SGLang's plugin for an end that loses nothing: new work is refused, and old work bounded.

SGLang by itself keeps accepting requests after SIGTERM, waits for them without a limit, and
looks every five seconds. SGLang calls `activate` through the entry point group
`sglang.srt.plugins`; where `launch.sh` has set `SGLANG_CI_DRAIN_SECONDS`, the process that
answers HTTP then refuses new work after SIGTERM (503 with `Retry-After`), gives what it has
accepted that many seconds, ends what is left by a final event, and leaves by SGLang's own way.
`docs/drain.md` argues it. Sources: `http_server.py` and `tokenizer_manager.py` of 0.5.23.
"""

from __future__ import annotations

import asyncio
import json
import logging
import multiprocessing
import os
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from ci.platform.doors import FLUSH_SECONDS, POLL_SECONDS, Doors

SECONDS = "SGLANG_CI_DRAIN_SECONDS"
RESOLVED = "sglang.srt.server_args.ServerArgs.resolve_once"
"""SGLang calls it before it imports its HTTP server, and so do we."""
ABORT_SECONDS = 1.0
"""Most seconds in which aborted requests have to end by themselves."""
SCHEDULER_SECONDS = 2
"""Most seconds for a scheduler that hangs to leave, before it is killed; SGLang has 15."""
RETRY_AFTER = b"1"
REFUSAL = "the server is shutting down; send the request to another one"
CUT = "the server is shutting down and the time for running requests is over"

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
Receive = Callable[[], Awaitable[Message]]
App = Callable[[Message, Receive, Send], Awaitable[None]]
Manager = Any
logger = logging.getLogger(__name__)


def activate() -> None:
    """Have the server drain as above, or step aside where nobody asked for it."""
    if not os.environ.get(SECONDS) or multiprocessing.parent_process():
        return
    from sglang.srt.plugins.hook_registry import HookRegistry, HookType

    HookRegistry.register(RESOLVED, _resolved, HookType.AFTER)


def _resolved(_result: object, *_arguments: object) -> None:
    """Attach to the HTTP server; a server that can't be drained so must still start."""
    global _resolved_once  # noqa: PLW0603 - SGLang calls it more than once
    if not _resolved_once:
        _resolved_once = True
        try:
            _attach(float(os.environ[SECONDS]))
        except Exception:
            logger.exception("draining is SGLang's own: the plugin does not fit this version")


_resolved_once = False


def _attach(seconds: float) -> None:
    from sglang.srt.entrypoints import http_server
    from sglang.srt.managers import tokenizer_manager

    exchanges, doors = Exchanges(), Doors(http_server.uvicorn.Server)
    original = tokenizer_manager.TokenizerManager.sigterm_watchdog

    async def watchdog(manager: Manager) -> None:
        while not manager.gracefully_exit:
            await asyncio.sleep(POLL_SECONDS)
        if not await drain(exchanges, lambda: manager.abort_request(abort_all=True), seconds):
            tokenizer_manager._SCHEDULER_EXIT_TIMEOUT_SECS = SCHEDULER_SECONDS  # noqa: SLF001
        await doors.close()
        await asyncio.sleep(FLUSH_SECONDS)
        if manager.rid_to_state:  # of nobody who waits; SGLang would wait, in steps of 5 s
            os.environ["SGL_FORCE_SHUTDOWN"] = "1"
        await original(manager)

    def draining() -> bool:
        state = http_server.get_global_state()
        return bool(state and state.tokenizer_manager.gracefully_exit)

    http_server.app.add_middleware(Gate, draining=draining, exchanges=exchanges)
    tokenizer_manager.TokenizerManager.sigterm_watchdog = watchdog
    logger.info("after SIGTERM running requests have %g s, and new ones get 503", seconds)


async def drain(exchanges: Exchanges, abort: Callable[[], object], seconds: float) -> bool:
    """Wait for all exchanges; after `seconds` abort them, and end what even then is left.

    Returns:
        Whether they all ended by themselves or by the abort: the scheduler works.
    """
    logger.info("draining: %d requests have %g s", len(exchanges), seconds)
    if not await exchanges.ended(seconds):
        logger.warning("draining: aborting %d requests after %g s", len(exchanges), seconds)
        abort()
        await exchanges.ended(ABORT_SECONDS)
    left = len(exchanges)
    if left:
        logger.error("draining: %d requests can't be aborted, the scheduler hangs", left)
        await exchanges.close()
    return not left


class Exchanges(set["Exchange"]):
    """The requests that were accepted and whose answers haven't ended."""

    async def ended(self, seconds: float) -> bool:
        """Wait until there is none, for at most `seconds`; return whether there is none."""
        end = time.monotonic() + seconds
        while self and time.monotonic() < end:
            await asyncio.sleep(POLL_SECONDS)
        return not self

    async def close(self) -> None:
        """End each of them by a last event, or by a 503 where no answer began."""
        await asyncio.gather(*(each.close() for each in self), return_exceptions=True)


class Exchange:
    """One request's answer on its way to the client.

    Args:
        send: Sends a part of it.
        ended: Is told once its last part was sent; SGLang's work goes on for seconds after it.
    """

    def __init__(self, send: Send, ended: Callable[[Exchange], None]) -> None:
        self._send, self._ended = send, ended
        self._begun, self._is_stream, self._closed = False, False, False

    async def send(self, message: Message) -> None:
        """Send a part of the answer, unless the answer was ended before."""
        if self._closed:
            return
        if message["type"] == "http.response.start":
            self._begun = True
            kinds = [value for name, value in message["headers"] if name == b"content-type"]
            self._is_stream = b"".join(kinds).startswith(b"text/event-stream")
        await self._send(message)
        if message["type"] == "http.response.body" and not message.get("more_body"):
            self._ended(self)

    async def close(self) -> None:
        """End the answer so that its client knows that it isn't whole."""
        self._closed = True
        if not self._begun:
            await refuse(self._send, CUT)
        elif self._is_stream:
            event = json.dumps({"error": _error(CUT)})
            body = f"data: {event}\n\ndata: [DONE]\n\n".encode()
            await self._send({"type": "http.response.body", "body": body, "more_body": False})


class Gate:
    """ASGI middleware: lets work in until the server drains, and then none.

    Args:
        app: What is behind it.
        draining: Says whether the server drains.
        exchanges: Gets what was let in, until it has ended.
    """

    def __init__(self, app: App, draining: Callable[[], bool], exchanges: Exchanges) -> None:
        self._app, self._draining, self._exchanges = app, draining, exchanges

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Pass one request on, or refuse it."""
        if scope["type"] != "http" or not is_work(scope["method"], scope["path"]):
            await self._app(scope, receive, send)
        elif self._draining():
            await refuse(send, REFUSAL)
        else:
            exchange = Exchange(send, self._exchanges.discard)
            self._exchanges.add(exchange)
            try:
                await self._app(scope, receive, exchange.send)
            finally:
                self._exchanges.discard(exchange)


def is_work(method: str, path: str) -> bool:
    """Return whether a request is work; looking at a server and ending work are none."""
    return method not in {"GET", "HEAD", "OPTIONS"} and path != "/abort_request"


async def refuse(send: Send, problem: str) -> None:
    """Answer with a 503 that a router may send elsewhere, and let the connection go."""
    body = json.dumps({"error": _error(problem)}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"retry-after", RETRY_AFTER),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _error(problem: str) -> dict[str, Any]:
    return {"message": problem, "type": "service_unavailable", "code": 503}
