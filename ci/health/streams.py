"""Streams of tokens as a client sees them: whether each one ends with its final event.

A stream that is cut has HTTP status 200 and may even end cleanly, so only a finish reason,
or an error that the server itself sends, counts as an end.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import anyio
import httpx

from ci.server.bounded import BodyFault
from ci.server.documents import document
from ci.server.door import Door
from ci.server.events import Events
from ci.server.faults import status_line
from ci.server.first_token import PATH


class End(StrEnum):
    """How a stream, or the request for it, ended."""

    FINISHED = "finished"
    ABORTED = "aborted"  # by a final event that says so
    REFUSED = "refused"  # 503, or no connection: a router sends it elsewhere
    RESET = "reset"  # the connection was cut before a byte of an answer
    TRUNCATED = "truncated"  # accepted, and no final event came
    FAILED = "failed"  # another status


@dataclass
class Stream:
    """One stream, as far as it has come.

    Args:
        begun: When it was asked for, on the event loop's clock.
        accepted: When the head of its answer came; None where it hasn't.
        events: How many events came.
        end: How it ended; None while it runs.
        ended: When.
        said: The finish reason, the server's error, the status, or what cut it.
    """

    begun: float = 0.0
    accepted: float | None = None
    events: int = 0
    end: End | None = None
    ended: float = 0.0
    said: str = ""


def request(prompt: str, tokens: int) -> dict[str, Any]:
    """Return the body of a request for a stream of exactly so many tokens."""
    parameters = {"max_new_tokens": tokens, "temperature": 0, "ignore_eos": True}
    return {"text": prompt, "sampling_params": parameters, "stream": True}


def client_for(url: str, silence: float) -> httpx.AsyncClient:
    """Return a client for any number of streams of any length.

    Args:
        url: The server's base URL.
        silence: Most seconds without a part of an answer.
    """
    return Door.to(url, silence).streaming()


async def read(client: httpx.AsyncClient, body: dict[str, Any], stream: Stream) -> None:
    """Ask for a stream and read it to its end, whatever that is, into `stream`."""
    stream.begun = anyio.current_time()
    try:
        async with client.stream("POST", PATH, json=body) as response:
            if response.status_code != httpx.codes.OK:
                refused = response.status_code == httpx.codes.SERVICE_UNAVAILABLE
                stream.end = End.REFUSED if refused else End.FAILED
                stream.said = told(response)
            else:
                stream.accepted = anyio.current_time()
                async for event in events(response):
                    _take(event, stream)
    except (httpx.ConnectError, httpx.ConnectTimeout):
        stream.end, stream.said = End.REFUSED, "no connection"
    except (httpx.TransportError, ValueError) as error:
        stream.said = stream.said or cause(error)
        if stream.accepted is None:
            stream.end = End.RESET
    if stream.end is None:
        stream.end = End.TRUNCATED
    stream.ended = anyio.current_time()


async def events(response: httpx.Response) -> AsyncIterator[bytes]:
    """Yield the data of each event of a stream; ValueError where one is too long."""
    reader = Events()
    async for piece in response.aiter_bytes():
        for event in reader.feed(piece):
            yield event


def told(response: httpx.Response) -> str:
    """Return an answer's status, and where it redirects to."""
    return status_line(response.status_code, response.headers.get("location", ""))


def cause(error: Exception) -> str:
    """Return what cut a stream; httpx's own errors say it by their names."""
    ours = isinstance(error, BodyFault | ValueError)
    return str(error) if ours else type(error).__name__


def _take(event: bytes, stream: Stream) -> None:
    try:
        found = document(event)
    except ValueError:
        return
    if not isinstance(found, dict):
        return
    stream.events += 1
    if "error" in found:
        error = found["error"]
        stream.end = End.ABORTED
        stream.said = str(error.get("message", error) if isinstance(error, dict) else error)
        return
    meta = found.get("meta_info")
    reason = meta.get("finish_reason") if isinstance(meta, dict) else None
    if reason:
        kind = reason.get("type", "") if isinstance(reason, dict) else str(reason)
        stream.end = End.ABORTED if kind == "abort" else End.FINISHED
        stream.said = kind
