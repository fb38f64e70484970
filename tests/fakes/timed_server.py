"""The inside of the server of known timing: one event loop, and a note of every write.

A stream's tokens are due at `received + ttft + k * itl`, whatever the ones before did. What is
written late because this process was short of time is noted when it was really written: the
notes are the truth, the plan is only the wish.
"""

from __future__ import annotations

import asyncio
import json
import math
import secrets
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, cast

import httptools

from tests.fakes import timed_events as events
from tests.fakes.timed_faults import planned


@dataclass(frozen=True)
class Timing:
    """How a server behaves; times in seconds.

    Args:
        ttft: From reading a request to its first token.
        itl: Between tokens.
        step: Ticks on which all streams write together, as a batch does; 0 for none.
        slots: Streams that are worked on at once; others wait. 0 for no limit.
        cold: Requests at the start that are slower.
        cold_factor: By what factor.
        spin: Whether to spend a whole core on being in time.
    """

    ttft: float = 0.02
    itl: float = 0.005
    step: float = 0.0
    slots: int = 0
    cold: int = 0
    cold_factor: float = 5.0
    spin: bool = False


@dataclass
class Note:
    """The truth of one stream: its prompt's start, and when what happened."""

    prompt: str
    received: float
    writes: list[float] = field(default_factory=list)
    tokens: int = 0


@dataclass
class State:
    """What all connections of a server share."""

    timing: Timing
    notes: list[Note] = field(default_factory=list)
    counted: dict[str, float] = field(default_factory=dict)
    asked: int = 0
    running: int = 0
    waiting: list[Stream] = field(default_factory=list)

    def count(self, name: str, amount: float) -> None:
        """Add to a counter of the metrics."""
        self.counted[name] = self.counted.get(name, 0.0) + amount

    def metrics(self) -> bytes:
        """Return the page of metrics."""
        gauges = {"num_running_reqs": self.running, "num_queue_reqs": len(self.waiting)}
        lines = [f'sglang:{name}{{tp_rank="0"}} {value}' for name, value in gauges.items()]
        told = self.counted.items()
        lines += [f'sglang:{name}{{is_streaming="true"}} {value}' for name, value in told]
        return "\n".join([*lines, ""]).encode()


class Stream:
    """One stream while it is written."""

    def __init__(self, state: State, connection: Connection, note: Note, pieces: list[Any]) -> None:
        """Plan to write `pieces`, of which each is due one ITL after the one before."""
        self._state, self._connection, self._note = state, connection, note
        self._pieces, self._at = pieces, 0
        slow = state.timing.cold_factor if state.asked <= state.timing.cold else 1.0
        self._ttft, self._itl = slow * state.timing.ttft, slow * state.timing.itl
        self._begin = 0.0

    def start(self) -> None:
        """Start, or wait for a slot."""
        state = self._state
        if state.timing.slots and state.running >= state.timing.slots:
            state.waiting.append(self)
            return
        state.running += 1
        self._begin = monotonic()
        self._plan()

    def _plan(self) -> None:
        due = self._begin + self._ttft + self._at * self._itl
        if step := self._state.timing.step:
            due = math.ceil(due / step) * step
        asyncio.get_running_loop().call_at(due, self._write)

    def _write(self) -> None:
        piece, connection = self._pieces[self._at], self._connection
        if piece is None or connection.gone:
            self._end()
            if piece is None:
                connection.close()
            return
        self._note.writes.append(monotonic())
        connection.write(piece)
        self._at += 1
        if self._at < len(self._pieces):
            self._plan()
        else:
            self._count()
            self._end()

    def _count(self) -> None:
        note, state = self._note, self._state
        latencies = {
            "time_to_first_token_seconds": note.writes[0] - note.received,
            "e2e_request_latency_seconds": note.writes[-1] - note.received,
        }
        for name, seconds in latencies.items():
            state.count(f"{name}_sum", seconds)
            state.count(f"{name}_count", 1)
        state.count("num_requests_total", 1)
        state.count("generation_tokens_total", note.tokens)

    def _end(self) -> None:
        self._state.running -= 1
        if self._state.waiting:
            self._state.waiting.pop(0).start()


class Connection(asyncio.Protocol):
    """One client's connection."""

    def __init__(self, state: State) -> None:
        """Wait for a request."""
        self._state, self.gone = state, False
        self._transport = cast("asyncio.Transport", None)
        self._begin()

    def _begin(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._path, self._body = "", b""
        self._headers: dict[str, str] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's
        """Write no more."""
        self.gone = True

    def data_received(self, data: bytes) -> None:
        """Read a request."""
        self._parser.feed_data(data)

    def write(self, data: bytes) -> None:
        """Write at once."""
        self._transport.write(data)

    def close(self) -> None:
        """Close, with all that was written before."""
        self._transport.close()

    def on_url(self, url: bytes) -> None:
        """Keep the path."""
        self._path = url.decode()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header."""
        self._headers[name.decode().lower()] = value.decode()

    def on_body(self, body: bytes) -> None:
        """Keep a piece of the body."""
        self._body += body

    def on_message_complete(self) -> None:
        """Answer."""
        received, path, body = monotonic(), self._path, self._body
        fault = self._headers.get("x-fault", "")
        self._begin()
        pages = {"/metrics": self._state.metrics, "/truth": self._truth, "/reset": self._reset}
        if path in pages:
            return self.write(events.answer("200 OK", pages[path](), "text/plain"))
        if path in {"/generate", "/v1/chat/completions"}:
            return self._stream(received, path, json.loads(body), fault)
        return self.write(events.answer(*_page(path)))

    def _stream(self, received: float, path: str, asked: dict[str, Any], fault: str) -> None:
        state = self._state
        state.asked += 1
        prompt, length = _prompt(asked)
        tokens = asked.get("max_tokens") or asked["sampling_params"]["max_new_tokens"]
        note = Note(prompt, received, tokens=tokens)
        state.notes.append(note)
        head, pieces = planned(path, tokens, length, fault)
        state.count("prompt_tokens_total", length if fault != "miscounted" else 2 * length)
        self.write(head)
        if pieces:
            Stream(state, self, note, pieces).start()
        elif pieces is None:
            self.close()

    def _truth(self) -> bytes:
        return json.dumps([vars(note) for note in self._state.notes]).encode()

    def _reset(self) -> bytes:
        self._state.notes.clear()
        return b"ok"


def _prompt(asked: dict[str, Any]) -> tuple[str, int]:
    """Return the start of a prompt and its length in tokens."""
    if ids := asked.get("input_ids"):
        return json.dumps(ids[:8]), len(ids)
    text = asked.get("text") or asked["messages"][-1]["content"]
    return text[:40], len(text.split())


_INFO = {"version": "0.5.23", "random_seed": secrets.randbelow(2**30), "internal_states": [{}]}


def _page(path: str) -> tuple[str, bytes]:
    known: dict[str, Any] = {
        "/v1/models": {"data": [{"id": "timed"}]},
        "/model_info": {"model_path": "timed", "is_generation": True},
        "/get_model_info": {"model_path": "timed", "is_generation": True},
        "/server_info": _INFO,
        "/get_server_info": _INFO,
        "/health": {},
        "/flush_cache": {},
    }
    found = known.get(path.partition("?")[0])
    status = "404 Not Found" if found is None else "200 OK"
    return status, json.dumps(found or {}).encode()
