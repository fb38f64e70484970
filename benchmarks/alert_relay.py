"""A server's metrics at second hand: whole, behind a key, cut, too large, old, or another page."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx

LARGE = b"# padding\n" * 2_000_000
"""Longer than the largest page that is taken."""


class Relay:
    """Passes on what a server answers to GET; `mode` says how.

    Args:
        url: The server's base URL.
    """

    def __init__(self, url: str) -> None:
        self.url, self.mode = url, "whole"
        self.last = b""
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, self))

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"127.0.0.1:{self.server.server_port}"


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, relay: Relay, *arguments: Any) -> None:
        self._relay = relay
        super().__init__(*arguments)

    def do_GET(self) -> None:
        """Answer as the mode wants it."""
        mode = self._relay.mode if self.path == "/metrics" else "whole"
        asked = {"accept": self.headers.get("accept", "*/*")}
        try:
            url = self._relay.url + self.path
            found = httpx.get(url, headers=asked, timeout=10, trust_env=False)
        except httpx.HTTPError:
            return
        body, status = found.content, found.status_code
        if mode == "frozen":
            body = self._relay.last
        elif self.path == "/metrics":
            self._relay.last = body
        if mode == "key":
            body, status = b"no key\n", 401
        elif mode == "other":
            body = b"# TYPE a gauge\na 1\n# EOF\n"
        elif mode == "large":
            body = LARGE + body
        with suppress(OSError):  # Prometheus has gone
            self.send_response(status)
            self.send_header("content-type", found.headers.get("content-type", "text/plain"))
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: len(body) // 2] if mode == "cut" else body)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
        """Say nothing."""
