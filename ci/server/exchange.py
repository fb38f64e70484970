"""Single HTTP exchanges with one server: any answer as it is, or the JSON object that is due."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import httpx

from ci.errors import AnswerFault, BadAnswer, KeyRefused, NotSglang, Unresponsive
from ci.server.documents import document
from ci.server.door import Door
from ci.server.faults import brief, fault_of, refusal
from ci.server.reach import base_url
from ci.server.unpack import ASKED

Json = dict[str, Any]


@dataclass(frozen=True)
class Reply:
    """What came back.

    Args:
        status: HTTP status.
        kind: Its media type, without parameters.
        body: The whole body as text.
        target: Where it redirects to; empty where it doesn't.
        headers: Its headers, by their names in lower case.
    """

    status: int
    kind: str
    body: str
    target: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, response: httpx.Response, body: bytes) -> Self:
        """Return a response as the answer that it is."""
        kind = media_type(response)
        target = response.headers.get("location", "")
        text, headers = body.decode("utf-8", "replace"), dict(response.headers)
        return cls(response.status_code, kind, text, target, headers)


class Exchange:
    """Requests to one server; an async context manager.

    Args:
        door: How it is asked.
        http: The connections.
        stranger: The error for something else than the server that is expected.
    """

    def __init__(
        self, door: Door, http: httpx.AsyncClient, stranger: type[AnswerFault] = NotSglang
    ) -> None:
        self.url, self._door, self._http, self._stranger = door.url, door, http, stranger

    async def __aenter__(self) -> Self:
        """Open the connection pool."""
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the connection pool."""
        await self._http.__aexit__(kind, error, trace)

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Return the answer to one request, whatever its status.

        Args:
            method: HTTP method.
            path: Path below the base URL.
            body: What is sent as JSON; bytes are sent as they are, and called JSON.
            headers: Further headers; the encodings that are asked for stay ours.

        Raises:
            AnswerFault: No whole answer came.
        """
        async with self._open(path, method, body, headers) as response:
            content = await response.aread()
        return Reply.of(response, content)

    async def get(self, path: str) -> Json:
        """Return the JSON object of `GET path`.

        Raises:
            KeyRefused: The server wants another API key.
            AnswerFault: Something else came, or nothing whole.
        """
        return self.object_of(path, await self.ask("GET", path))

    async def post(self, path: str, body: Json) -> Json:
        """Return the JSON object with which the server answers `body`; errors as of `get`."""
        return self.object_of(path, await self.ask("POST", path, body))

    def object_of(self, path: str, answer: Reply) -> Json:
        """Return the JSON object that an answer of `path` holds; errors as of `get`."""
        return object_of(f"{self.url}{path}", answer, self._door.key)

    def permitted(self, path: str, answer: Reply) -> Reply:
        """Return an answer of `path`, unless it asks for another API key.

        Raises:
            KeyRefused: It does.
        """
        if refused := self.refusal(path, answer):
            raise refused
        return answer

    def refusal(self, path: str, answer: Reply) -> KeyRefused | None:
        """Return the error of an answer of `path` that asks for another API key, if it does."""
        return refusal(f"{self.url}{path}", answer.status, answer.body, self._door.key)

    async def cut(self, path: str, body: Any) -> None:
        """Begin a stream, read its first piece, and go away."""
        async with self._open(path, "POST", body, None) as response:
            async for _ in response.aiter_bytes():
                return

    @asynccontextmanager
    async def _open(
        self, path: str, method: str, body: Any, headers: Mapping[str, str] | None
    ) -> AsyncIterator[httpx.Response]:
        raw, url = body if isinstance(body, bytes) else None, f"{self.url}{path}"
        given = {"Content-Type": "application/json"} if raw is not None else {}
        given |= dict(headers or {}) | {"Accept-Encoding": ASKED}
        try:
            async with self._http.stream(
                method,
                url,
                content=raw,
                json=None if raw is not None else body,
                headers=given,
            ) as response:
                yield response
        except httpx.TimeoutException as error:
            seconds = self._door.seconds
            raise Unresponsive(url, f"no complete answer within {seconds:g} s") from error
        except httpx.TransportError as error:
            raise fault_of(url, error, self._stranger) from error


def exchanging(
    url: str,
    *,
    seconds: float = 60.0,
    transport: httpx.AsyncBaseTransport | None = None,
    keyed: bool = True,
) -> Exchange:
    """Return connections to the server at `url`, one for each request.

    Args:
        url: Its base URL.
        seconds: Most seconds of a request.
        transport: Another transport, for tests.
        keyed: Whether its API key is sent, where there is one.

    Raises:
        UsageError: `url` is not the URL of a server.
    """
    door = Door.to(url, seconds) if keyed else Door(base_url(url), seconds)
    return Exchange(door, door.client(reuse=False, transport=transport))


def media_type(response: httpx.Response) -> str:
    """Return the media type of a response, in small letters and without parameters."""
    kind: str = response.headers.get("content-type", "")
    return kind.partition(";")[0].strip().lower()


def object_of(url: str, answer: Reply, key: str) -> Json:
    """Return the JSON object that an answer holds.

    Args:
        url: What was asked.
        answer: What came back.
        key: The API key that was sent; empty where none was.

    Raises:
        KeyRefused: The server wants another key.
        BadAnswer: It holds something else.
    """
    status, text = answer.status, answer.body
    if refused := refusal(url, status, text, key):
        raise refused
    if status != httpx.codes.OK:
        target = f"redirects to {answer.target}: " if answer.target else ""
        problem = f"HTTP {status}: {target}{brief(text)}"
        raise BadAnswer(url, problem, status=status, body=text)
    try:
        content = document(text)
    except ValueError as error:
        problem = f"HTTP 200 without JSON: {brief(text)}"
        raise BadAnswer(url, problem, status=status, body=text) from error
    if not isinstance(content, dict):
        problem = f"JSON, but no object: {brief(text)}"
        raise BadAnswer(url, problem, status=status, body=text)
    return content
