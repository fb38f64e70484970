"""Single HTTP exchanges as they are: any status, any body, bounded in time and size."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anyio
import httpx

from ci.errors import BadAnswer, Unresponsive
from ci.server.client import MAX_BODY, fault_of
from ci.server.reach import base_url


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    kind: str
    """Its media type, without parameters."""
    body: str


class Exchange:
    """Requests to one server; made by `exchanging`.

    Args:
        url: The server's base URL.
        http: The connections.
        seconds: Most seconds of a request, until the last byte of its answer.
    """

    def __init__(self, url: str, http: httpx.AsyncClient, seconds: float) -> None:
        self.url, self._http, self._seconds = url, http, seconds

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Return the answer to one request, whatever its status.

        Args:
            method: HTTP method.
            path: Path below the base URL.
            body: What is sent as JSON; bytes are sent as they are, and called JSON.
            headers: Further headers.

        Raises:
            AnswerFault: No whole answer came.
        """
        url, pieces = f"{self.url}{path}", bytearray()
        async with self._open(url, method, body, headers) as response:
            async for piece in response.aiter_bytes():
                pieces += piece
                if len(pieces) > MAX_BODY:
                    raise BadAnswer(url, f"the answer is over {MAX_BODY} bytes long")
        kind = response.headers.get("content-type", "").partition(";")[0].strip()
        return Answer(response.status_code, kind, pieces.decode("utf-8", "replace"))

    async def cut(self, path: str, body: Any) -> None:
        """Begin a stream, read its first piece, and go away."""
        async with self._open(f"{self.url}{path}", "POST", body, None) as response:
            async for _ in response.aiter_bytes():
                return

    @asynccontextmanager
    async def _open(
        self, url: str, method: str, body: Any, headers: Mapping[str, str] | None
    ) -> AsyncIterator[httpx.Response]:
        raw = body if isinstance(body, bytes) else None
        extra = {"Content-Type": "application/json"} if raw is not None else {}
        try:
            with anyio.fail_after(self._seconds):
                async with self._http.stream(
                    method,
                    url,
                    content=raw,
                    json=None if raw is not None else body,
                    headers=extra | dict(headers or {}),
                ) as response:
                    yield response
        except (TimeoutError, httpx.TimeoutException) as error:
            raise Unresponsive(url, f"no complete answer within {self._seconds:g} s") from error
        except (httpx.TransportError, httpx.DecodingError) as error:
            raise fault_of(url, error) from error


@asynccontextmanager
async def exchanging(
    url: str, *, seconds: float = 60.0, transport: httpx.AsyncBaseTransport | None = None
) -> AsyncIterator[Exchange]:
    """Open connections to the server at `url`; a request may take `seconds`.

    Each has a connection of its own: a server closes it after some faults, and the next request
    must not be the one that shows it.

    Raises:
        UsageError: `url` is not the URL of a server.
    """
    at = base_url(url)
    async with httpx.AsyncClient(
        transport=transport,
        timeout=httpx.Timeout(seconds),
        trust_env=False,
        limits=httpx.Limits(max_keepalive_connections=0),
        follow_redirects=False,
    ) as http:
        yield Exchange(at, http, seconds)
