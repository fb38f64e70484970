"""The HTTP client that smoke cases use: plain httpx, bounded in time and in bytes.

A request ends within about its timeout and an answer at `MAX_BODY`, so that neither a
silent nor an endless server can hold a case. No connection is used twice: a server that
closes an idle one (SGLang does after a 500) would look like a reset of the next request.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator

import httpx

from ci.errors import NameUnresolved
from ci.server.client import MAX_BODY, fault_of
from ci.verdict import Outcome

CONNECT_TIMEOUT = 5.0
"""Most seconds until a connection is accepted."""


class BodyFault(httpx.TransportError):
    """An answer began and did not end as it should; `str()` says what was seen."""


def open_client(url: str, timeout: float) -> httpx.Client:
    """Return a client of the server at `url`; a request may take `timeout` seconds."""
    plain = httpx.HTTPTransport(
        verify=ssl.create_default_context(), limits=httpx.Limits(max_keepalive_connections=0)
    )
    return httpx.Client(
        base_url=url,
        timeout=httpx.Timeout(timeout, connect=min(timeout, CONNECT_TIMEOUT)),
        transport=BoundedTransport(plain, timeout),
        trust_env=False,
    )


class BoundedTransport(httpx.BaseTransport):
    """Passes requests on, and bounds the bodies of the answers."""

    def __init__(self, inner: httpx.BaseTransport, timeout: float) -> None:
        """Keep the transport that does the work, and the seconds a request may take."""
        self._inner, self._timeout = inner, timeout

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send `request`; reading the answer's body may raise `BodyFault`."""
        deadline = time.monotonic() + self._timeout
        response = self._inner.handle_request(request)
        response.stream = _BoundedStream(response.stream, deadline, self._timeout)
        return response

    def close(self) -> None:
        """Close the transport that does the work."""
        self._inner.close()


class _BoundedStream(httpx.SyncByteStream):
    def __init__(
        self, inner: httpx.SyncByteStream | httpx.AsyncByteStream, deadline: float, timeout: float
    ) -> None:
        if not isinstance(inner, httpx.SyncByteStream):
            raise TypeError("only synchronous transports can be bounded")
        self._inner, self._deadline, self._timeout = inner, deadline, timeout

    def __iter__(self) -> Iterator[bytes]:
        size = 0
        try:
            for chunk in self._inner:
                size += len(chunk)
                if size > MAX_BODY:
                    raise BodyFault(f"the answer is over {MAX_BODY} bytes long")
                if time.monotonic() > self._deadline:
                    raise httpx.ReadTimeout("")
                yield chunk
        except httpx.TimeoutException as error:
            problem = f"the answer did not end within {self._timeout:g} s ({size} bytes came)"
            raise BodyFault(problem) from error
        except (httpx.NetworkError, httpx.RemoteProtocolError) as error:
            raise BodyFault(f"the answer was cut after {size} bytes ({error})") from error

    def close(self) -> None:
        self._inner.close()


def blame(error: httpx.HTTPError) -> Outcome:
    """Return FAILED, or ERROR where no server could be asked because its host has no address."""
    unresolved = isinstance(fault_of("", error), NameUnresolved)
    return Outcome.ERROR if unresolved else Outcome.FAILED


def explain(error: httpx.HTTPError) -> str:
    """Return one line on what the server did wrong, with the request it did that to."""
    where = f"{error.request.method} {error.request.url.path}"
    if isinstance(error, httpx.HTTPStatusError):
        return f"{where}: {status_line(error.response)}"
    if isinstance(error, BodyFault):
        return f"{where}: {error}"
    if isinstance(error, httpx.TimeoutException):
        timeouts = error.request.extensions["timeout"]
        connecting = isinstance(error, httpx.ConnectTimeout)
        what, key = ("connection", "connect") if connecting else ("answer", "read")
        return f"{where}: no {what} within {timeouts[key]:g} s"
    return str(fault_of(where, error))


def status_line(response: httpx.Response) -> str:
    """Return an answer's status and the first line of its body, where that was read."""
    try:
        lines = response.text.strip().splitlines()
    except httpx.ResponseNotRead:
        lines = []
    return f"HTTP {response.status_code}: {lines[0][:200] if lines else 'no body'}"
