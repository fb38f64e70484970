"""A proxy that lets nobody through to a server without its API key."""

from __future__ import annotations

import http.client
import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import ClassVar
from urllib.parse import urlsplit

SGLANG = "(?!/health|/ready|/metrics)"
"""Start of the paths for which SGLang 0.5.23 wants its key."""


class _Proxy(BaseHTTPRequestHandler):
    upstream: ClassVar[str]
    key: ClassVar[str]
    paths: ClassVar[str]
    status: ClassVar[int]

    def _pass(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        given = self.headers.get("authorization") == f"Bearer {self.key}"
        if re.match(self.paths, self.path) and not given:
            self._answer(self.status, "application/json", b'{"error":"Unauthorized"}')
            return
        to = http.client.HTTPConnection(urlsplit(self.upstream).netloc, timeout=60)
        kept = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
        to.request(self.command, self.path, body, kept | {"Connection": "close"})
        answer = to.getresponse()
        kind = answer.headers.get("content-type", "")
        if kind.startswith("text/event-stream"):
            self._stream(kind, answer)
        else:
            self._answer(answer.status, kind, answer.read())
        to.close()

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = do_OPTIONS = _pass  # noqa: N815

    def _answer(self, status: int, kind: str, content: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _stream(self, kind: str, answer: http.client.HTTPResponse) -> None:
        self.send_response(200)
        self.send_header("content-type", kind)
        self.end_headers()
        while piece := answer.read1(65536):
            self.wfile.write(piece)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that have gone away."""


@contextmanager
def guarded(
    upstream: str,
    key: str,
    *,
    paths: str = SGLANG,
    status: int = 401,
    tls: ssl.SSLContext | None = None,
) -> Iterator[str]:
    """Yield the URL of a proxy to a server.

    Args:
        upstream: The server's base URL.
        key: What its clients have to send.
        paths: Start of the paths that need it, as a regular expression.
        status: HTTP status of an answer without it.
        tls: The proxy's certificate; plain HTTP without.
    """
    own = {"upstream": upstream, "key": key, "paths": paths, "status": status}
    server = _Quiet(("127.0.0.1", 0), type("Bound", (_Proxy,), own))
    if tls:
        server.socket = tls.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )  # each connection's own thread does it, since a client may leave before
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http{'s' if tls else ''}://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
