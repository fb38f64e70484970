"""Streams as a client sees them: no end that loses something is taken for a good one."""

from __future__ import annotations

import json

import httpx
import pytest

from ci.health.streams import End, Stream, read, request

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

TOKEN = {"text": "a", "meta_info": {"finish_reason": None}}
LAST = {"text": "ab", "meta_info": {"finish_reason": {"type": "length", "length": 2}}}
ABORT = {"text": "a", "meta_info": {"finish_reason": {"type": "abort", "message": "Aborted"}}}
ERROR = {"error": {"message": "shutting down"}}


def events(*several: object) -> bytes:
    """Return a stream's events, and its last line."""
    lines = [json.dumps(one) for one in several]
    return "".join(f"data: {line}\n\n" for line in [*lines, "[DONE]"]).encode()


class Broken(httpx.AsyncByteStream):
    """A body that is cut off after its first part."""

    def __init__(self, part: bytes) -> None:
        self._part = part

    async def __aiter__(self):  # type: ignore[no-untyped-def]  # noqa: ANN204
        yield self._part
        raise httpx.RemoteProtocolError("peer closed connection")


def fails(error: Exception) -> httpx.Response:
    """Answer by an error."""
    raise error


@pytest.mark.parametrize(
    ("answer", "end", "said"),
    [
        (lambda: httpx.Response(200, content=events(TOKEN, LAST)), End.FINISHED, "length"),
        (lambda: httpx.Response(200, content=events(TOKEN, ABORT)), End.ABORTED, "abort"),
        (lambda: httpx.Response(200, content=events(TOKEN, ERROR)), End.ABORTED, "shutting down"),
        (lambda: httpx.Response(200, content=events(TOKEN)), End.TRUNCATED, ""),
        (lambda: httpx.Response(200, content=b""), End.TRUNCATED, ""),
        (
            lambda: httpx.Response(200, stream=Broken(events(TOKEN))),
            End.TRUNCATED,
            "RemoteProtocolError",
        ),
        (lambda: httpx.Response(200, content=b"data: {half"), End.TRUNCATED, ""),
        (lambda: httpx.Response(503), End.REFUSED, "HTTP 503"),
        (lambda: httpx.Response(500), End.FAILED, "HTTP 500"),
        (lambda: fails(httpx.ConnectError("refused")), End.REFUSED, "no connection"),
        (lambda: fails(httpx.ReadError("reset")), End.RESET, "ReadError"),
    ],
    ids=[
        "whole",
        "aborted",
        "error",
        "done without reason",
        "empty",
        "cut",
        "half",
        "503",
        "500",
        "refused",
        "reset",
    ],
)
async def test_how_a_stream_ends(answer, end: End, said: str) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    """A cut stream counts as whole, or a refusal as a loss."""
    stream = Stream()
    transport = httpx.MockTransport(lambda _: answer())
    async with httpx.AsyncClient(base_url="http://server", transport=transport) as client:
        await read(client, request("Hello", 2), stream)
    assert (stream.end, stream.said) == (end, said)
    assert (stream.accepted is not None) is (end in {End.FINISHED, End.ABORTED, End.TRUNCATED})
