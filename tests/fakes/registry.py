"""An OCI registry in a thread, whose features can be left out and whose faults can be chosen.

`with fake_registry() as registry: ...`. It holds to the distribution specification 1.1 and
does more than most (compare-and-swap of tags); attributes take each of that away. Faults are
what it does in the place of, or before, an answer: `registry.fault("PUT .*/manifests/v1$",
answering(429), times=2)`.
"""

from __future__ import annotations

import json
import re
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from ci.registry.access import Access
from ci.registry.oci import digest_of
from ci.registry.reference import Reference
from tests.fakes.registry_api import PASSWORD, USER, Exchange

__all__ = ["PASSWORD", "USER", "FakeRegistry", "Handler", "fake_registry"]

Act = Callable[["Handler"], bool]
"""Does something to a request, and returns whether that was its answer."""


@dataclass
class Fault:
    """What is done to requests whose `METHOD /path?query` matches, `left` times more."""

    pattern: re.Pattern[str]
    act: Act
    left: float


@dataclass
class FakeRegistry:
    """The registry's content, and what it can and can't do."""

    address: str = ""
    referrers_api: bool = True
    swaps: bool = True
    """Whether `If-Match` and `If-None-Match` are honoured."""
    login: str = ""
    """Empty, `Basic` or `Bearer`: how `USER` and `PASSWORD` are asked for."""
    redirects: bool = False
    """Whether blobs are read at another host, which refuses our credentials as stores do."""
    page: int = 1000
    """Most entries of a list in one answer."""
    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    """Media type and content by digest, of all repositories."""
    tags: dict[str, str] = field(default_factory=dict)
    """Digest by tag, of all repositories."""
    tokens: dict[str, str] = field(default_factory=dict)
    """Scope by token; emptied, all of them have expired."""
    requests: list[str] = field(default_factory=list)
    """`METHOD /path?query` of each request, in order."""
    faults: list[Fault] = field(default_factory=list)
    lock: threading.RLock = field(default_factory=threading.RLock)
    closing: threading.Event = field(default_factory=threading.Event)

    @property
    def access(self) -> Access:
        """How to reach it: as who it asks for, and in a hurry."""
        name, password = (USER, PASSWORD) if self.login else ("", "")
        return Access(name, password, plain_http=True, timeout=5, attempts=3, pause=0.01)

    def reference(self, repository: str = "team/image", tag: str = "") -> Reference:
        """Return a reference into it."""
        return Reference(self.address, repository, tag)

    def fault(self, pattern: str, act: Act, times: float = float("inf")) -> None:
        """Do `act` to the next requests that match, `times` times."""
        self.faults.append(Fault(re.compile(pattern), act, times))

    def count(self, pattern: str) -> int:
        """Return how many requests matched."""
        return sum(bool(re.match(pattern, each)) for each in self.requests)

    def put(self, media_type: str, content: bytes, tag: str = "") -> str:
        """Store a manifest behind everybody's back, and return its digest."""
        digest = digest_of(content)
        with self.lock:
            self.manifests[digest] = (media_type, content)
            self.tags |= {tag: digest} if tag else {}
        return digest


@contextmanager
def fake_registry(*, tls: ssl.SSLContext | None = None, **features: Any) -> Iterator[FakeRegistry]:
    """Yield a registry that listens on 127.0.0.1; `features` are attributes of it."""
    registry = FakeRegistry(**features)
    with _Server(("127.0.0.1", 0), Handler) as server:
        registry.address = f"127.0.0.1:{server.server_port}"
        server.registry = registry
        if tls is not None:
            server.socket = tls.wrap_socket(
                server.socket, server_side=True, do_handshake_on_connect=False
            )
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield registry
        finally:
            registry.closing.set()
            server.shutdown()
            thread.join()


def answering(status: int, body: bytes = b"", **headers: str) -> Act:
    """Answer so; `headers` have `_` for `-`."""

    def act(request: Handler) -> bool:
        request.body()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request.answer(status, body, named)
        return True

    return act


def failing(status: int, code: str = "UNKNOWN", message: str = "", **headers: str) -> Act:
    """Answer with an error as registries word it."""
    error = {"code": code, "message": message or code.lower()}
    return answering(status, json.dumps({"errors": [error]}).encode(), **headers)


def silent(request: Handler) -> bool:
    """Never answer."""
    request.server.registry.closing.wait()
    return cutting()(request)


def cutting(after: int = 0) -> Act:
    """Reset the connection once so many bytes of the body are read."""

    def act(request: Handler) -> bool:
        request.rfile.read(after)
        linger = struct.pack("ii", 1, 0)
        request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        request.close_connection = True
        return True

    return act


def meanwhile(work: Callable[[], object]) -> Act:
    """Do something else first, then answer as ever."""

    def act(_: Handler) -> bool:
        work()
        return False

    return act


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    registry: FakeRegistry

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Leave clients that went away unmentioned."""


class Handler(BaseHTTPRequestHandler):
    """One connection of a client."""

    protocol_version = "HTTP/1.1"
    wbufsize = 65_536
    disable_nagle_algorithm = True
    server: _Server
    unread = 0
    content = b""

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def body(self) -> bytes:
        """Return the request's body."""
        self.content += self.rfile.read(self.unread)
        self.unread = 0
        return self.content

    def answer(
        self, status: int, content: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> None:
        """Answer, and keep the connection unless the request was left unread."""
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(content))} | dict(headers or {})).items():
            self.send_header(name, value)
        if self.unread:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def handle_one(self) -> None:
        """Do what faults there are to the request, and answer it."""
        registry, asked = self.server.registry, f"{self.command} {self.path}"
        self.unread, self.content = int(self.headers.get("Content-Length") or 0), b""
        with registry.lock:
            registry.requests.append(asked)
            due = [each for each in registry.faults if each.left and each.pattern.match(asked)]
            for fault in due[:1]:
                fault.left -= 1
        with suppress(ConnectionError):
            if not (due and due[0].act(self)):
                Exchange(self, registry).run()

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = handle_one  # noqa: N815
