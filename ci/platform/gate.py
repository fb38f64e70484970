"""What a draining server lets in, what it refuses, and how it ends what is left.

ASGI alone, without SGLang: `ci/platform/drain.py` puts it in front of SGLang's application.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from ci.platform.doors import until

PROMISE_PATH = "/sglang-ci/drain"
"""Where a server tells that it drains as promised; SGLang itself answers 404 there."""
RETRY_AFTER = b"1"
REFUSAL = "the server is shutting down; send the request to another one"
CUT = "the server is shutting down and the time for running requests is over"

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
Receive = Callable[[], Awaitable[Message]]
App = Callable[[Message, Receive, Send], Awaitable[None]]


class Exchanges(set["GatedExchange"]):
    """The requests that were accepted and whose answers haven't ended."""

    async def ended(self, seconds: float) -> bool:
        """Wait until there is none, for at most `seconds`; return whether there is none."""
        return await until(lambda: not self, seconds)

    async def close(self) -> None:
        """End each of them by a last event, or by a 503 where no answer began."""
        await asyncio.gather(*(each.close() for each in self), return_exceptions=True)


class GatedExchange:
    """One request's answer on its way to the client.

    Args:
        send: Sends a part of it.
        ended: Is told once its last part was sent; SGLang's work goes on for seconds after it.
    """

    def __init__(self, send: Send, ended: Callable[[GatedExchange], None]) -> None:
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


class DrainGate:
    """ASGI middleware: lets work in until the server drains, and then none.

    Args:
        app: What is behind it.
        draining: Says whether the server drains.
        exchanges: Gets what was let in, until it has ended.
        seconds: What running requests get after SIGTERM, to be told.
    """

    def __init__(
        self, app: App, draining: Callable[[], bool], exchanges: Exchanges, seconds: float
    ) -> None:
        self._app, self._draining, self._exchanges = app, draining, exchanges
        self._seconds = seconds

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Pass one request on, refuse it, or tell that this is a gate."""
        if scope["type"] == "http" and (scope["method"], scope["path"]) == ("GET", PROMISE_PATH):
            await _answer(send, 200, {"seconds": self._seconds})
        elif scope["type"] != "http" or not is_work(scope["method"], scope["path"]):
            await self._app(scope, receive, send)
        elif self._draining():
            await refuse(send, REFUSAL)
        else:
            exchange = GatedExchange(send, self._exchanges.discard)
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
    leave = [(b"retry-after", RETRY_AFTER), (b"connection", b"close")]
    await _answer(send, 503, {"error": _error(problem)}, *leave)


async def _answer(
    send: Send, status: int, document: dict[str, Any], *more: tuple[bytes, bytes]
) -> None:
    body = json.dumps(document).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        *more,
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _error(problem: str) -> dict[str, Any]:
    return {"message": problem, "type": "service_unavailable", "code": 503}
