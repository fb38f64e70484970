"""The same stream of server-sent events in other clothes, all of which the standard allows."""

from __future__ import annotations

import json
from collections.abc import Callable


def _lines(plain: bytes, each: Callable[[bytes], bytes]) -> bytes:
    """Return a stream of which every event is `each` of the plain one's data."""
    events = [block.removeprefix(b"data: ") for block in plain.split(b"\n\n") if block]
    return b"".join(each(event) + b"\n\n" for event in events)


def _several(data: bytes) -> bytes:
    """Return an event's data on several lines."""
    if data == b"[DONE]":
        return b"data: " + data
    lines = json.dumps(json.loads(data), indent=1).encode().split(b"\n")
    return b"\n".join(b"data: " + line for line in lines)


DRESSES: dict[str, Callable[[bytes], bytes]] = {
    "comment first": lambda plain: b": ping\n\n" + plain,
    "comments between": lambda plain: plain.replace(b"\n\n", b"\n\n: ping\n\n"),
    "comment inside": lambda plain: plain.replace(b"data:", b": ping\ndata:"),
    "CRLF": lambda plain: plain.replace(b"\n", b"\r\n"),
    "CR": lambda plain: plain.replace(b"\n", b"\r"),
    "byte order mark": lambda plain: b"\xef\xbb\xbf" + plain,
    "no space": lambda plain: plain.replace(b"data: ", b"data:"),
    "fields": lambda plain: _lines(
        plain, lambda data: b"event: message\nid: 7\nretry: 10\nodd\ndata: " + data
    ),
    "several data lines": lambda plain: _lines(plain, _several),
    "blank lines": lambda plain: b"\n\n" + plain.replace(b"\n\n", b"\n\n\n\n"),
}


def dressed(plain: bytes, dress: str) -> bytes:
    """Return the stream `plain`, of events of one `data: ` line, as the named dress has it."""
    return DRESSES[dress](plain)
