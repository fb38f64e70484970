r"""Streams of the OpenAI and native APIs: whole, and each event what it should be.

A stream that was cut has HTTP status 200 and may even end cleanly. So more is asked for than the
standard of server-sent events does: each event holds one JSON object without `error`, and the
last is `[DONE]`. Everything else is as the standard has it (`ci.server.events`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from ci.secrets.veil import beginning, ending
from ci.server.documents import document
from ci.server.events import Events, is_done

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
        shown = ending(raw.decode("utf-8", "replace"), SHOWN)
        raise AssertionError(f"{where}: stream: {error}\n{shown}") from error


def first_event(pieces: Iterable[bytes], where: str) -> bytes:
    """Return the data of a stream's first event, and read no further.

    Args:
        pieces: The answer's body, however it is cut.
        where: The request, for the error.

    Raises:
        AssertionError: There is none.
    """
    events = Events()
    for piece in pieces:
        for data in events.feed(piece):
            return data
    raise AssertionError(f"{where}: no event in the stream: {beginning(repr(events.rest), 80)}")


def _events(raw: bytes) -> Iterator[Event]:
    events = Events()
    found = events.feed(raw)
    if events.cut:
        raise ValueError("it was cut inside an event")
    if not found:
        raise ValueError("it holds no event")
    if not is_done(found[-1]):
        raise ValueError("it ends without [DONE], which tells a whole stream from a cut one")
    for data in found[:-1]:
        yield _event(data)


def _event(data: bytes) -> Event:
    if is_done(data):
        raise ValueError("events follow [DONE], after which clients read no further")
    shown = data.decode("utf-8", "replace").strip()
    try:
        event = document(data)
    except UnicodeDecodeError as error:
        raise ValueError(f"an event is not UTF-8: {beginning(shown, 80)!r}") from error
    except ValueError as error:
        raise ValueError(f"an event is not JSON: {beginning(shown, 80)!r}") from error
    if not isinstance(event, dict):
        raise ValueError(f"an event is no JSON object: {beginning(shown, 80)!r}")  # noqa: TRY004
    if event.get("error") or event.get("object") == "error":
        raise ValueError(f"it holds an error: {beginning(shown, 200)}")
    return event
