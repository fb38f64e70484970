"""A server whose routes are guarded as SGLang guards its own, and that notes what acted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.fakes.serving import JsonHandler, serving

READ, NEEDED, MAYBE, NONE = "read", "needed", "maybe", "none"
"""What a route does with a body: it only reads itself, needs one, takes one, or wants none."""
ROUTES: dict[str, tuple[tuple[str, ...], str, bool]] = {
    "/model_info": (("GET",), READ, False),
    "/openapi.json": (("GET",), READ, False),
    "/configure_logging": (("GET", "POST"), NEEDED, True),
    "/update_weights_from_disk": (("POST",), NEEDED, True),
    "/start_profile": (("GET", "POST"), MAYBE, True),
    "/flush_cache": (("GET", "POST"), NONE, True),
    "/open_session": (("GET", "POST"), NEEDED, False),
    "/new_weight_thing": (("POST",), NEEDED, True),
}
"""Path to methods, what becomes of a body, and whether the admin's key is asked for."""
KEY = "secret"


def document() -> dict[str, Any]:
    """Return how the server describes itself."""
    bodies = {
        NEEDED: {"requestBody": {"required": True, "content": {"application/json": {}}}},
        MAYBE: {"requestBody": {"content": {"application/json": {}}}},
    }
    return {
        "paths": {
            path: {method.lower(): bodies.get(body, {}) for method in methods}
            for path, (methods, body, _) in ROUTES.items()
        }
    }


@dataclass
class Guarded:
    """How the server is guarded, and what it was asked.

    Args:
        keys: Which of SGLang's keys are set: `api`, `admin`.
        front: What stands before it: `methods` lets only GET pass, `bodies` refuses what is no
            JSON, `hidden` lets only `/v1/` pass, `elsewhere` is another server altogether.
        silent: Whether it doesn't describe itself.
    """

    keys: tuple[str, ...] = ()
    front: str = ""
    silent: bool = False
    url: str = ""
    acted: list[str] = field(default_factory=list)
    keyed: list[str] = field(default_factory=list)

    def answer(self, method: str, path: str, body: bytes, key: str = "") -> tuple[int, Any]:
        """Return status and document, in the order in which SGLang judges a request."""
        methods, kind, admin = ROUTES.get(path, ((), READ, False))
        wanted = 0 if key == KEY else self._key(method in methods and admin)
        refused = self._refused(method, path, body) or wanted
        if refused:
            return refused, {"error": "no"}
        if method not in methods:
            return (405 if methods else 404), {"error": "no such thing"}
        return self._acted(method, path, kind, body)

    def _refused(self, method: str, path: str, body: bytes) -> int:
        """Return with what status the front refuses a request; 0 where it lets it pass."""
        if self.front == "methods" and method != "GET":
            return 403
        if self.front == "bodies" and body and _unreadable(body):
            return 400
        if self.front == "hidden" and not path.startswith("/v1/"):
            return 404
        return 404 if self.front == "elsewhere" else 0

    def _key(self, admin: bool) -> int:  # noqa: FBT001
        wants = "admin" in self.keys if admin else False
        return 401 if wants or "api" in self.keys else 0

    def _acted(self, method: str, path: str, kind: str, body: bytes) -> tuple[int, Any]:
        if kind in {NEEDED, MAYBE} and (body or kind == NEEDED) and _unreadable(body):
            return 400, {"error": "JSON decode error"}
        if kind == READ:
            silent = self.silent and path == "/openapi.json"
            said = document() if path == "/openapi.json" else {"model_path": "tiny"}
            return (404, {}) if silent else (200, said)
        self.acted.append(f"{method} {path}")
        return 200, {}


def _unreadable(body: bytes) -> bool:
    try:
        json.loads(body)
    except ValueError:
        return True
    return False


@contextmanager
def guarded(*keys: str, front: str = "", silent: bool = False) -> Iterator[Guarded]:
    """Serve until the context ends."""
    state = Guarded(keys, front, silent)

    class Handler(JsonHandler):
        def do_GET(self) -> None:  # noqa: N802 - the server calls it so
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            key = (self.headers.get("authorization") or "").removeprefix("Bearer ")
            if key:
                state.keyed.append(self.path)
            if state.front == "hidden" and self.path == "/v1/models":
                self.answer(200, {"data": []})
                return
            self.answer(*state.answer(self.command, self.path, body, key))

        do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815 - the server calls it so

    with serving(Handler) as state.url:
        yield state
