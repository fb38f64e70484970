"""The same bounds for callers that block, such as a user's smoke cases.

A blocking read waits for the next byte only: a server that sends its headers a byte a second
would hold it for ever. So each read of a connection is given what is left until the deadline.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import httpcore
import httpx

from ci.server.bounded import BodyFault, Bounds, Watch

_BLOCK = 64 * 1024


class Blocking(httpx.BaseTransport):
    """Sends requests of any thread, each on a connection of its own, and bounds the answers.

    Args:
        tls: How certificates are verified.
        bounds: What one request may take.
    """

    def __init__(self, tls: ssl.SSLContext, bounds: Bounds) -> None:
        self._bounds = bounds
        self._pool = httpcore.ConnectionPool(
            ssl_context=tls, max_keepalive_connections=0, network_backend=_Backend(bounds)
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send `request`; reading the answer's body may raise `BodyFault`."""
        watch = Watch(self._bounds)
        with _as_httpx():
            answer = self._pool.handle_request(_plain(request))
        headers = httpx.Headers(answer.headers)
        try:
            watch.head(headers)
        except BodyFault:
            answer.close()
            raise
        return httpx.Response(
            answer.status,
            headers=headers,
            stream=_Body(answer, watch),
            extensions=answer.extensions,
        )

    def close(self) -> None:
        """Close all connections."""
        self._pool.close()


def _plain(request: httpx.Request) -> httpcore.Request:
    url = request.url
    target = httpcore.URL(
        scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
    )
    return httpcore.Request(
        request.method,
        target,
        headers=request.headers.raw,
        content=request.read(),
        extensions=request.extensions,
    )


@contextmanager
def _as_httpx() -> Iterator[None]:
    """Raise an error of httpcore as httpx's of the same name."""
    try:
        yield
    except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError) as error:
        kind: type[httpx.TransportError] = getattr(httpx, type(error).__name__)
        raise kind(str(error)) from error


class _Body(httpx.SyncByteStream):
    def __init__(self, answer: httpcore.Response, watch: Watch) -> None:
        self._answer, self._watch = answer, watch

    def __iter__(self) -> Iterator[bytes]:
        with self._watch.told(), _as_httpx():
            for piece in self._answer.iter_stream():
                yield from self._watch.unpacked(piece)
            self._watch.end()

    def close(self) -> None:
        self._answer.close()


class _Backend(httpcore.NetworkBackend):
    """Makes connections that end with the request that they are made for."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds, self._inner = bounds, httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        watch = Watch(self._bounds)
        stream = self._inner.connect_tcp(host, port, timeout, local_address, socket_options)
        return _Stream(stream, watch)


class _Stream(httpcore.NetworkStream):
    """A connection on which nothing takes longer than what is left for its request."""

    def __init__(self, inner: httpcore.NetworkStream, watch: Watch) -> None:
        self._inner, self._watch = inner, watch

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, self._least(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for at in range(0, len(buffer), _BLOCK):
            self._inner.write(buffer[at : at + _BLOCK], self._least(timeout))

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        inner = self._inner.start_tls(ssl_context, server_hostname, self._least(timeout))
        return _Stream(inner, self._watch)

    def close(self) -> None:
        self._inner.close()

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)

    def _least(self, timeout: float | None) -> float | None:
        """Return how long one step may take.

        Raises:
            httpcore.ReadTimeout: No time is left.
        """
        left = self._watch.left()
        if left is None:
            return timeout
        if left <= 0:
            raise httpcore.ReadTimeout
        return left if timeout is None else min(left, timeout)
