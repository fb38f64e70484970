"""A small server that describes itself in OpenAPI, and can be told to break its word."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.fakes.serving import JsonHandler, serving

SIZES = {"type": "object", "properties": {"size": {"type": "integer"}}, "required": ["size"]}
BODY = {"content": {"application/json": {"schema": SIZES}}, "required": True}
ERRORS = 3
"""How many errors a server that decays survives."""
ANSWERS = {"200": {"description": "well"}}
DOCUMENT: dict[str, Any] = {
    "openapi": "3.1.0",
    "info": {"title": "described", "version": "1"},
    "paths": {
        "/sizes": {"post": {"requestBody": BODY, "responses": ANSWERS}},
        "/ready": {"get": {"responses": ANSWERS}},
        "/flush_cache": {"post": {"responses": ANSWERS}},
    },
}


@dataclass
class Described:
    """What the server does, and what it was asked.

    Args:
        fault: `error`, `hang`, `no JSON`, `death` or `decay` (three errors, then death), for
            sizes above 0; empty for none.
        document: What it says of itself; None for nothing.
    """

    fault: str = ""
    document: dict[str, Any] | None = field(default_factory=lambda: DOCUMENT)
    url: str = ""
    asked: list[tuple[str, bytes]] = field(default_factory=list)
    dead: bool = False
    errors: int = 0

    def answer(self, path: str, body: bytes) -> tuple[int, bytes]:
        """Return status and body."""
        fixed = {"/server_info": {"version": "0.5.23"}, "/openapi.json": self.document}
        if path in fixed:
            return (200, json.dumps(fixed[path]).encode()) if fixed[path] else (404, b"{}")
        if path == "/generate":
            return 200, b'{"meta_info": {"completion_tokens": 1}}'
        self.asked.append((path, body))
        if path == "/sizes":
            return self._sized(body)
        return 200, b"{}"

    def _sized(self, body: bytes) -> tuple[int, bytes]:
        try:
            size = json.loads(body)["size"]
            large = not isinstance(size, bool) and size > 0
        except (ValueError, LookupError, TypeError):
            return 400, b'{"error": "no size"}'
        if large and self.fault == "hang":
            time.sleep(5)
        self.errors += large and self.fault == "decay"
        self.dead = (large and self.fault == "death") or self.errors > ERRORS
        error = (500, f"too large: {size}".encode())
        broken = {"error": error, "decay": error, "no JSON": (200, b"{size")}
        return broken.get(self.fault, (200, b"{}")) if large else (200, b"{}")


@contextmanager
def described(fault: str = "", document: dict[str, Any] | None = DOCUMENT) -> Iterator[Described]:
    """Serve until the context ends."""
    state = Described(fault, document)

    class Handler(JsonHandler):
        def do_GET(self) -> None:  # noqa: N802 - the server calls it so
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, said = state.answer(self.path.partition("?")[0], body)
            if state.dead:
                self.close_connection = True
                return
            self.send(status, said)

        do_POST = do_GET  # noqa: N815 - the server calls it so

    with serving(Handler) as state.url:
        yield state
