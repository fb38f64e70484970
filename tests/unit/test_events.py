"""Server-sent events: one reader for all, by the standard, however a stream is cut and dressed."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator
from itertools import pairwise
from typing import Any

import anyio
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ci.bench.answer import ReceivedAnswer
from ci.bench.dialects import Generate, Sampling
from ci.contract.shape import body_shape
from ci.health.streams import End, Stream, read, request
from ci.server import events
from ci.server.events import Events, is_done
from ci.smoke.sse import first_event, parse
from tests.fakes.dresses import DRESSES, dressed
from tests.rare import rare

pytestmark = pytest.mark.unit

LINES = st.one_of(
    st.just(""),
    st.sampled_from(["data", "data:", ": ping", ":", "event: x", "id", "retry: 5", "odd line"]),
    st.text(
        st.characters(exclude_categories=["Cs"], exclude_characters="\r\n"), max_size=8
    ).flatmap(
        lambda text: st.sampled_from([text, f"data:{text}", f"data: {text}", f"data : {text}"])
    ),
)
STREAMS = st.tuples(
    st.sampled_from(["", "\ufeff", "\ufeff\ufeff"]),
    st.lists(st.tuples(LINES, st.sampled_from(["\n", "\r", "\r\n"])), max_size=16),
    st.sampled_from(["", "data: half", "\r"]),
).map(lambda parts: (parts[0] + "".join(map("".join, parts[1])) + parts[2]).encode())
CUTS = st.lists(st.integers(0, 200), max_size=30)


def standard(raw: bytes) -> list[str]:
    """Return the data of a whole stream's events, word by word as the standard says it."""
    *lines, _ = re.split("\r\n|\r|\n", raw.decode().removeprefix("\ufeff"))
    found, data = [], list[str]()
    for line in lines:
        name, _, value = line.partition(":")
        if not line and data:
            found.append("\n".join(data))
            data = []
        elif name == "data":
            data.append(value.removeprefix(" "))
    return found


def pieces(raw: bytes, cuts: list[int]) -> Iterator[bytes]:
    """Yield a stream in pieces, some of which are empty."""
    ends = sorted(cut % (len(raw) + 1) for cut in cuts)
    return (raw[a:b] for a, b in pairwise([0, *ends, len(raw)]))


@given(STREAMS, CUTS)
def test_any_stream_is_read_as_the_standard_says(raw: bytes, cuts: list[int]) -> None:
    """An event is lost, made up or changed where packets are cut."""
    reader = Events()
    found = [data.decode() for piece in pieces(raw, cuts) for data in reader.feed(piece)]
    assert found == standard(raw)


@pytest.mark.parametrize("dress", DRESSES)
@pytest.mark.parametrize("size", rare([1, 3, 2, 7, 4096], 2))
def test_every_size_of_packets_gives_the_same(dress: str, size: int) -> None:
    """Three bytes a packet, or CR and LF in two of them, make another stream."""
    raw, reader = dressed(SENT, dress), Events()
    found = [one for at in range(0, len(raw), size) for one in reader.feed(raw[at : at + size])]
    assert [one if is_done(one) else json.loads(one) for one in found] == [*TOKENS, b"[DONE]"]
    assert not reader.cut


def token(count: int, reason: str | None = None) -> dict[str, Any]:
    """Return an event of `/generate`."""
    finish = {"type": reason} if reason else None
    meta = {"id": "7", "finish_reason": finish, "prompt_tokens": 3, "completion_tokens": count}
    return {"text": "ü\u2028" * count, "output_ids": list(range(count)), "meta_info": meta}


TOKENS = [token(1), token(2), token(3, "length")]
SENT = b"".join(f"data: {json.dumps(one, ensure_ascii=False)}\n\n".encode() for one in TOKENS)
SENT += b"data: [DONE]\n\n"


class Cut(httpx.AsyncByteStream):
    """A body that comes in pieces."""

    def __init__(self, parts: list[bytes]) -> None:
        self._parts = parts

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self._parts:
            yield part


async def watched(parts: list[bytes]) -> Stream:
    """Return what the health check sees of a stream."""
    stream, transport = (
        Stream(),
        httpx.MockTransport(lambda _: httpx.Response(200, stream=Cut(parts))),
    )
    async with httpx.AsyncClient(base_url="http://h", transport=transport) as client:
        await read(client, request("Hello", 3), stream)
    return stream


def measured(parts: list[bytes]) -> ReceivedAnswer:
    """Return what the load client sees of a stream."""
    loop = asyncio.new_event_loop()
    answer = ReceivedAnswer(Generate(Sampling(keep_outputs=True)), loop)
    answer.head(200)
    for part in parts:
        answer.body(0.0, part)
    answer.end(0.0)
    loop.close()
    return answer


@given(st.sampled_from(sorted(DRESSES)), CUTS)
def test_all_stages_read_the_same(dress: str, cuts: list[int]) -> None:
    """A stream that one stage takes is refused or misread by another."""
    raw = dressed(SENT, dress)
    parts = [part for part in pieces(raw, [37 * cut for cut in cuts]) if part]
    assert list(parse(raw, "x")) == TOKENS
    assert json.loads(first_event(iter(parts), "x")) == TOKENS[0]
    seen, told = anyio.run(watched, parts), measured(parts)
    assert (seen.end, seen.said, seen.events) == (End.FINISHED, "length", 3)
    assert (told.error, told.finish, told.output) == (None, "length", "ü\u2028" * 3)
    assert (told.output_tokens, told.counts[-1]) == (3, 3)
    text = raw.decode()
    assert body_shape("b", text, "text/event-stream") == body_shape(
        "b", SENT.decode(), "text/event-stream"
    )


@pytest.mark.parametrize(
    ("raw", "cut"),
    [
        (b"", False),
        (b"data: a\n\n", False),
        (b"data: a\n", True),
        (b"data: a\n\n: ping", False),
        (b"data: a\n\n\n", False),
        (b"data: a\n\r", False),
        (b"dat", True),
        (b"data: a\n\nid: 7\n", True),
        (b"\xef\xbb\xbf", False),
    ],
)
def test_a_cut_is_told_to_who_asks(raw: bytes, cut: bool) -> None:  # noqa: FBT001
    """A stream that was cut inside an event is whole, or one that ends with a comment is cut."""
    reader = Events()
    reader.feed(raw)
    assert reader.cut is cut


def test_an_event_is_bounded_and_takes_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """An event without an end takes all memory, or the square of its pieces in time."""
    monkeypatch.setattr(events, "MAX_EVENT", 200_000)
    reader, long = Events(), b"data: " + b"x" * 100_000
    for at in range(0, len(long), 3):
        assert reader.feed(long[at : at + 3]) == []
    assert reader.feed(b"\n\n") == [b"x" * 100_000]
    assert reader.feed(b"x" * 200_000) == []
    with pytest.raises(ValueError, match="an event is over 200000 bytes long"):
        reader.feed(b"x")
    assert reader.feed(b"\n\ndata: a\n\n") == [b"a"]
