"""Streams of tokens as a client sees them: whether each one ends with its final event.

A stream that is cut has HTTP status 200 and may even end cleanly, so only a finish reason,
or an error that the server itself sends, counts as an end.
"""

from __future__ import annotations

import json
import ssl
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import anyio
import httpx


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


async def read(client: httpx.AsyncClient, body: dict[str, Any], stream: Stream) -> None:
    """Ask for a stream and read it to its end, whatever that is, into `stream`."""
    stream.begun = anyio.current_time()
    try:
        async with client.stream("POST", "/generate", json=body) as response:
            if response.status_code != httpx.codes.OK:
                refused = response.status_code == httpx.codes.SERVICE_UNAVAILABLE
                stream.end = End.REFUSED if refused else End.FAILED
                stream.said = f"HTTP {response.status_code}"
            else:
                stream.accepted = anyio.current_time()
                async for line in response.aiter_lines():
                    _take(line, stream)
    except (httpx.ConnectError, httpx.ConnectTimeout):
        stream.end, stream.said = End.REFUSED, "no connection"
    except httpx.TransportError as error:
        stream.said = stream.said or type(error).__name__
        if stream.accepted is None:
            stream.end = End.RESET
    if stream.end is None:
        stream.end = End.TRUNCATED
    stream.ended = anyio.current_time()


def _take(line: str, stream: Stream) -> None:
    if not line.startswith("data: {"):
        return
    stream.events += 1
    try:
        event = json.loads(line.removeprefix("data: "))
    except ValueError:
        return
    if "error" in event:
        error = event["error"]
        stream.end = End.ABORTED
        stream.said = str(error.get("message", error) if isinstance(error, dict) else error)
        return
    reason = event.get("meta_info", {}).get("finish_reason")
    if reason:
        kind = reason.get("type", "") if isinstance(reason, dict) else str(reason)
        stream.end = End.ABORTED if kind == "abort" else End.FINISHED
        stream.said = kind


def client_for(url: str, timeout: float, *, reuse: bool = True) -> httpx.AsyncClient:
    """Return a client without a bound on its connections.

    Args:
        url: The server's base URL.
        timeout: Most seconds without a part of an answer.
        reuse: Whether a connection is used again; platforms' probes open new ones.
    """
    https = url.startswith("https")
    return httpx.AsyncClient(
        base_url=url,
        timeout=timeout,
        trust_env=False,
        verify=ssl.create_default_context() if https else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=None if reuse else 0),
    )
