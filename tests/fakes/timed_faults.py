"""What goes wrong in a stream of the server of known timing, by the header `x-fault`."""

from __future__ import annotations

from collections.abc import Callable

from tests.fakes import timed_events as events

Pieces = list[bytes | None]
"""What is written, one piece a token; None closes the connection."""

END = events.chunk(events.DONE) + b"0\r\n\r\n"


def planned(path: str, tokens: int, prompt: int, fault: str) -> tuple[bytes, Pieces | None]:
    """Return the head of an answer, and its pieces: [] for silence, None to close at once."""
    if fault in HEADS:
        return HEADS[fault], None if fault in {"reset", "garbage"} else []
    made = events.generate if path == "/generate" else events.chat
    finish = "abort" if fault == "abort" else "length"
    told = made(tokens - (fault == "short"), prompt, finish)
    return events.STREAM_HEAD, STREAMS.get(fault, _whole)(told)


def _whole(told: tuple[bytes, ...]) -> Pieces:
    *pieces, last = map(events.chunk, told)
    return [*pieces, last + END]


def _half(told: tuple[bytes, ...], *end: bytes | None) -> Pieces:
    return [*map(events.chunk, told[: len(told) // 2]), *end]


def _error(told: tuple[bytes, ...]) -> Pieces:
    error = events.event({"error": {"message": "the prompt is too long", "code": 400}})
    return _half(told, events.chunk(error) + END)


def _together(told: tuple[bytes, ...]) -> Pieces:
    """Write two tokens at once, in two events."""
    pairs = (told[at : at + 2] for at in range(0, len(told), 2))
    return _whole(tuple(b"".join(pair) for pair in pairs))


def _skipping(told: tuple[bytes, ...]) -> Pieces:
    """Leave out every second token but the last, as a chat stream does with empty ones."""
    kept = [event if at % 2 == 0 or at == len(told) - 1 else b"" for at, event in enumerate(told)]
    pieces = [events.chunk(event) if event else b"" for event in kept[:-1]]
    return [*pieces, events.chunk(kept[-1]) + END]


def _split(told: tuple[bytes, ...]) -> Pieces:
    """Write all at once with CRLF line ends, in HTTP chunks of 7 bytes."""
    whole = b": a comment\n\n" + b"".join(told) + events.DONE
    whole = whole.replace(b"\n", b"\r\n")
    cut = (whole[at : at + 7] for at in range(0, len(whole), 7))
    return [b"".join(map(events.chunk, cut)) + b"0\r\n\r\n"]


STREAMS: dict[str, Callable[[tuple[bytes, ...]], Pieces]] = {
    "cut": lambda told: _half(told, None),
    "unfinished": lambda told: _half(told, END),
    "no_done": lambda told: [*map(events.chunk, told), b"0\r\n\r\n"],
    "error": _error,
    "stall": _half,
    "nonsense": lambda _: [events.chunk(b"data: {nonsense\n\n") + END],
    "late_counts": lambda told: _whole(events.uncounted(told)),
    "together": _together,
    "skipping": _skipping,
    "split": _split,
}
"""Streams by fault; those that aren't named are whole."""

HEADS = {
    "status": events.answer("503 Service Unavailable", b'{"error":{"message":"no worker"}}'),
    "page": events.answer("200 OK", b'{"text":"no stream"}'),
    "silent": events.STREAM_HEAD,
    "mute": b"",
    "reset": b"",
    "garbage": b"SSH-2.0-OpenSSH_9.2\r\n",
    "empty": events.STREAM_HEAD + END,
}
"""What stands in the place of a stream, by fault."""
