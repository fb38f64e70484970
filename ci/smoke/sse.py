r"""Server-sent events, read strictly.

A stream that was cut has HTTP status 200 and may even end cleanly, so everything that a whole
one has is asked for: each event is one `data:` line and a blank line, holds one JSON object
without `error`, and the last is `[DONE]`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

DONE = "[DONE]"
SHOWN = 4000
"""Most characters of a bad stream's end that an error shows."""

Event = dict[str, Any]


def parse(raw: bytes, where: str) -> tuple[Event, ...]:
    """Return the events of a whole stream, without the final `[DONE]`.

    Args:
        raw: The answer's body.
        where: The request, for the error's first line.

    Raises:
        AssertionError: The stream isn't well formed or not whole; the first line says how, the
            rest is the raw text.
    """
    try:
        return tuple(_events(raw))
    except ValueError as error:
        shown = raw.decode("utf-8", "replace")[-SHOWN:]
        raise AssertionError(f"{where}: stream: {error}\n{shown}") from error


def _events(raw: bytes) -> Iterator[Event]:
    text = raw.decode("utf-8").replace("\r\n", "\n")
    if not text.endswith("\n\n"):
        raise ValueError("it was cut inside an event" if text else "it holds no event")
    blocks = [_data(block) for block in text.split("\n\n") if block.strip("\n")]
    data = [block for block in blocks if block is not None]
    if not data or data[-1] != DONE:
        raise ValueError("it ends without [DONE]")
    for block in data[:-1]:
        yield _event(block)


def _data(block: str) -> str | None:
    """Return what an event carries; None for a comment."""
    lines = [line for line in block.strip("\n").split("\n") if not line.startswith(":")]
    if not lines:
        return None
    if len(lines) != 1 or not lines[0].startswith("data:"):
        raise ValueError(f"not one data line: {block[:80]!r}")
    return lines[0].removeprefix("data:").strip()


def _event(data: str) -> Event:
    if data == DONE:
        raise ValueError("events follow [DONE]")
    try:
        event = json.loads(data)
    except ValueError as error:
        raise ValueError(f"an event is not JSON: {data[:80]!r}") from error
    if not isinstance(event, dict):
        raise ValueError(f"an event is no JSON object: {data[:80]!r}")  # noqa: TRY004
    if event.get("error") or event.get("object") == "error":
        raise ValueError(f"it holds an error: {data[:200]}")
    return event
