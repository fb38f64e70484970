"""The HTTP side of the fake server: routes, streams, and faults of the connection."""

from __future__ import annotations

import json
import re
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.fakes.api import Api, BadRequestError
from tests.fakes.dresses import dressed
from tests.fakes.pages import METRICS, Settings, drain, model_info, models, server_info
from tests.fakes.shapes import Json

HEALTH_SECONDS = 20.0
"""After this time `/health` gives up on a scheduler that doesn't answer."""

SMALL = 4096
"""Most bytes of a body that a careful proxy lets pass."""

HEALTH_PATHS = {"/health", "/health_generate"}
PAGES = {
    "/model_info": model_info,
    "/server_info": server_info,
    "/get_server_info": server_info,
    "/v1/models": models,
}
DRAIN = "/sglang-ci/drain"


@dataclass
class State:
    """What all requests of one server share."""

    settings: Settings
    faults: set[str]
    asked: list[str] = field(default_factory=list)
    others: list[Any] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)
    opened: float = 0.0

    def __post_init__(self) -> None:
        """Make the model's side."""
        self.api = Api(self.settings.model, self.faults, self.settings.context_length)

    @property
    def leak(self) -> str:
        """What a refusal says of the key."""
        return f" for the key {self.settings.leak}" if self.settings.leak else ""

    @property
    def ready(self) -> bool:
        """Whether it is ready by now."""
        return time.monotonic() - self.opened >= self.settings.ready_after


class Handler(BaseHTTPRequestHandler):
    """Answers one request at a time, as its state's faults have it."""

    state: State

    def do_GET(self) -> None:
        """Answer a GET."""
        state, path = self.state, self.path
        state.asked.append(path)
        if self._locked():
            self._json(state.settings.refusal, {"error": "Unauthorized"})
        elif "hang" in state.faults and path in {*HEALTH_PATHS, "/server_info"}:
            state.closing.wait(None if path == "/server_info" else HEALTH_SECONDS)
            self._send(503, b"")
        elif path in {"/ready", "/ping", *HEALTH_PATHS}:
            self._send(200 if state.ready else 503, b"")
        elif path == "/metrics":
            self._send(200, METRICS.encode(), "text/plain; version=0.0.4; charset=utf-8")
        elif path == DRAIN and state.settings.drains:
            self._json(200, drain(state.settings))
        elif path in PAGES:
            self._json(200, PAGES[path](state.settings))
        else:
            self._json(404, {"detail": f"Not Found{state.leak}"})

    def do_POST(self) -> None:
        """Answer a POST, or do what the faults have it do."""
        state = self.state
        state.asked.append(self.path)
        raw = self.rfile.read(int(self.headers.get("content-length", 0)))
        if self._locked():
            return self._json(state.settings.refusal, {"error": "Unauthorized"})
        for fault, work in self._instead().items():
            if fault in state.faults:
                return work()
        if not state.ready:
            return self._unavailable()
        if "small_bodies" in state.faults and len(raw) > SMALL:
            return self._send(413, b"<html>413 Request Entity Too Large</html>", "text/html")
        return self._answer(raw)

    def _locked(self) -> bool:
        """Return whether the request lacks the key that its path needs."""
        at = self.state.settings
        if not (at.api_key and re.match(at.guarded, self.path)):
            return False
        return self.headers.get("authorization") != f"Bearer {at.api_key}"

    def _instead(self) -> dict[str, Callable[[], None]]:
        """Return what is done instead of an answer, by fault."""
        return {
            "hang": self._hang,
            "reset": self._reset,
            "endless_body": self._endless,
            "unavailable": self._unavailable,
            "malformed_json": self._malformed,
        }

    def _answer(self, raw: bytes) -> None:
        try:
            body = json.loads(raw)
            stream = bool(body.get("stream"))
            answer = self._route(body, stream=stream)
        except (BadRequestError, ValueError, AttributeError) as error:
            return self._refuse(str(error))
        if answer is None:
            return self._json(404, {"detail": "Not Found"})
        return self._stream(answer) if stream else self._json(200, self._own(answer))

    def _route(self, body: Json, *, stream: bool) -> Any:
        api, chat = self.state.api, "chat" in self.path
        if self.path == "/generate":
            return api.native_events(body) if stream else api.native(body)
        if self.path in {"/v1/completions", "/v1/chat/completions"}:
            ask = api.openai_events if stream else api.openai
            return ask(body, chat=chat)
        return api.embeddings(body) if self.path == "/v1/embeddings" else None

    def _own(self, answer: Any) -> Any:
        """Return this request's answer, or another's where answers are mixed up."""
        if "mixed_answers" not in self.state.faults:
            return answer
        others = self.state.others
        others.append(answer)
        time.sleep(0.05)
        return others.pop(0) if others[0] is not answer else others.pop()

    def _refuse(self, problem: str) -> None:
        faults = self.state.faults
        if "bad_kills" in faults:
            faults.add("hang")
        status = {"accepts_bad": 200, "bad_is_500": 500}
        found = next((status[fault] for fault in status if fault in faults), 400)
        self._json(found, {"object": "error", "message": problem + self.state.leak})

    def _stream(self, events: list[Json]) -> None:
        self._head(200, "text/event-stream; charset=utf-8")
        lines = stream_lines(events, self.state.faults)
        if "held_stream" in self.state.faults:
            time.sleep(len(lines) * self.state.settings.token_seconds)
            lines = ["".join(lines)]
        try:
            for piece in self._pieces(lines):
                time.sleep(self.state.settings.token_seconds)
                self.wfile.write(piece)
        except OSError:
            if "leaks_clients" in self.state.faults:
                self.state.faults.add("hang")

    def _pieces(self, lines: list[str]) -> list[bytes]:
        """Return a stream as it is written, piece by piece."""
        at = self.state.settings
        whole = [line.encode() for line in lines]
        if at.dress:
            whole = [dressed(b"".join(whole), at.dress)]
        if at.piece:
            content = b"".join(whole)
            return [content[here : here + at.piece] for here in range(0, len(content), at.piece)]
        return whole

    def _hang(self) -> None:
        self.state.closing.wait()

    def _unavailable(self) -> None:
        told = f"no worker is ready{self.state.leak}"
        self._json(503, {"object": "error", "message": told})

    def _malformed(self) -> None:
        self._send(200, b'{"text": "a', "application/json")

    def _reset(self) -> None:
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        socket.close(self.connection.detach())

    def _endless(self) -> None:
        self._head(200, "application/json")
        try:
            while not self.state.closing.is_set():
                self.wfile.write(b" " * 65536)
        except OSError:
            return

    def _json(self, status: int, answer: Any) -> None:
        self._send(status, json.dumps(answer).encode(), "application/json")

    def _send(self, status: int, body: bytes, kind: str = "text/plain") -> None:
        self._head(status, kind, len(body))
        self.wfile.write(body)

    def _head(self, status: int, kind: str, length: int | None = None) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        if length is not None:
            self.send_header("content-length", str(length))
        self.end_headers()

    def log_request(self, code: object = "-", size: object = "-") -> None:
        """Say nothing."""


def stream_lines(events: list[Json], faults: set[str]) -> list[str]:
    """Return the lines of a stream, as the faults have it."""
    if "stream_without_finish" in faults:
        for event in events:
            for holder in (event.get("meta_info", {}), *event.get("choices", [])):
                holder["finish_reason"] = None
    lines = [f"data: {json.dumps(event)}\n\n" for event in events]
    if "cut_stream" in faults:
        return [*lines[: len(lines) // 2], lines[-1][:20]]
    return lines if "stream_without_done" in faults else [*lines, "data: [DONE]\n\n"]
