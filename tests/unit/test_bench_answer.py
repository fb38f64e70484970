"""Answers while they come in: tokens, counts and ends, however the bytes are cut."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ci.bench.answer import ReceivedAnswer, message_of
from ci.bench.dialects import Api, Chat, Generate, Sampling
from ci.bench.records import ErrorKind
from tests.fakes import timed_events

pytestmark = pytest.mark.unit

KEEP = Sampling(keep_outputs=True)
APIS: dict[str, Api] = {"generate": Generate(KEEP), "chat": Chat(KEEP, "tiny")}
SAMPLES = {name: (Path(__file__).parent / "streams" / f"{name}.sse").read_bytes() for name in APIS}
"""Streams of a busy SGLang 0.5.23, of three tokens each, of which two came together."""

ARRIVALS = {"generate": ([2, 3], [0.0, 1.0]), "chat": ([1, 3], [1.0, 2.0])}
"""Their tokens so far, and the place of the events that brought them."""


def answer(name: str, *pieces: bytes, status: int = 200, end: bool = True) -> ReceivedAnswer:
    """Return what an API's answer has become after pieces that came a second apart."""
    loop = asyncio.new_event_loop()
    try:
        found = ReceivedAnswer(APIS[name], loop)
        found.head(status)
        for second, piece in enumerate(pieces):
            found.body(float(second), piece)
        if end:
            found.end(float(len(pieces)))
        return found
    finally:
        loop.close()


def events(name: str) -> list[bytes]:
    """Return the events of a real stream."""
    return [event + b"\n\n" for event in SAMPLES[name].split(b"\n\n") if event]


def native(**meta: Any) -> bytes:
    """Return an event of `/generate`."""
    return timed_events.event({"text": "x", "meta_info": {"finish_reason": None} | meta})


@pytest.mark.parametrize("name", APIS)
def test_a_real_stream_is_read_token_by_token(name: str) -> None:
    """A token of a real server isn't seen, or is stamped with another's time."""
    found = answer(name, *events(name))
    assert found.error is None
    assert (found.counts, found.times) == ARRIVALS[name]
    assert (found.output_tokens, found.finish) == (3, "length")
    assert found.prompt_tokens == {"generate": 6, "chat": 16}[name]
    assert found.output
    assert found.ended.result() == len(events(name))


@pytest.mark.parametrize("name", APIS)
@settings(max_examples=60)
@given(cuts=st.lists(st.integers(1, 4000), max_size=40), crlf=st.booleans())
def test_it_does_not_matter_how_a_stream_is_cut(name: str, cuts: list[int], *, crlf: bool) -> None:
    """An event in two packets, or with other line ends, is lost or read twice."""
    whole = SAMPLES[name].replace(b"\n", b"\r\n") if crlf else SAMPLES[name]
    at = sorted({0, *(cut % len(whole) for cut in cuts), len(whole)})
    found = answer(name, *(whole[a:b] for a, b in pairwise(at)))
    assert found.error is None
    assert found.output_tokens == 3
    assert len(found.times) == len(found.counts)
    assert found.times == sorted(found.times)
    assert found.output == answer(name, whole).output


@pytest.mark.parametrize("name", APIS)
@settings(max_examples=60)
@given(data=st.data())
def test_a_stream_that_was_cut_is_never_whole(name: str, data: st.DataObject) -> None:
    """A truncated stream counts as an answer: its latency is too good."""
    whole = SAMPLES[name].rstrip(b"\n")
    found = answer(name, whole[: data.draw(st.integers(0, len(whole) - 1))])
    assert found.error in {ErrorKind.CUT, ErrorKind.MALFORMED}


def test_generated_text_that_looks_like_json_is_text() -> None:
    """A model that talks of token counts or errors changes what is measured."""
    said = '"completion_tokens": 99, "finish_reason": null, "error": "no", [DONE]\n\ndata: [DONE]'
    made = [
        timed_events.event(
            {
                "meta_info": {"completion_tokens": at, "finish_reason": None if at < 3 else "stop"},
                "text": said,
            }
        )
        for at in (1, 2, 3)
    ]
    found = answer("generate", *made, timed_events.DONE)
    assert (found.counts, found.error, found.finish) == ([1, 2, 3], None, "stop")
    assert found.output == said


def test_a_nested_count_is_not_the_stream_s() -> None:
    """A key of the same name somewhere in front of the real one is read instead."""
    odd = {"completion_tokens": 50}
    made = [
        timed_events.event(
            {"odd": odd, "meta_info": {"finish_reason": None, "completion_tokens": at}}
        )
        for at in (1, 2)
    ]
    assert answer("generate", *made, end=False).counts == [1, 2]


def test_a_chunk_without_new_tokens_is_no_arrival() -> None:
    """A repeated count is a gap of its own, and there are more gaps than tokens."""
    found = answer("generate", *(native(completion_tokens=at) for at in (1, 1, 3, 3)), end=False)
    assert (found.times, found.counts) == ([0.0, 2.0], [1, 3])


@pytest.mark.parametrize("count", ["-1", '"3"', "null", "2.5", "true"])
def test_a_count_that_is_none_makes_no_sense(count: str) -> None:
    """Nonsense in the place of a count ends in a traceback, or in a figure."""
    event = f'data: {{"meta_info":{{"completion_tokens":{count},"finish_reason":null}}}}\n\n'
    assert answer("generate", event.encode(), end=False).error is ErrorKind.MALFORMED


def test_counts_never_go_back() -> None:
    """Two requests' answers are mixed up, and nobody notices."""
    found = answer("generate", native(completion_tokens=5), native(completion_tokens=4))
    assert found.error is ErrorKind.MALFORMED
    assert "4 output tokens after 5" in found.detail


@pytest.mark.parametrize("name", APIS)
@pytest.mark.parametrize(
    ("error", "words"),
    [
        ({"error": {"message": "too long", "code": 400}}, "too long"),
        ({"error": "too long"}, "too long"),
        ({"object": "error", "message": "too long"}, "too long"),
        ({"error": {"code": 1}}, "{'code': 1}"),
    ],
)
def test_an_error_inside_a_stream_is_one(name: str, error: dict[str, Any], words: str) -> None:
    """HTTP 200 and a clean end hide that the request failed."""
    half = events(name)[:2]
    found = answer(name, *half, timed_events.event(error), timed_events.DONE)
    assert (found.error, found.detail) == (ErrorKind.STREAM, words)


def test_an_error_in_a_chunk_with_tokens_is_seen() -> None:
    """The short cut past JSON leaves an error out."""
    odd = {"error": "no", "meta_info": {"completion_tokens": 2, "finish_reason": None}}
    found = answer("generate", native(completion_tokens=1), timed_events.event(odd), end=False)
    assert found.error is ErrorKind.STREAM


def test_an_aborted_answer_says_why() -> None:
    """A request that the server gave up on counts as answered."""
    why = {"type": "abort", "message": "out of memory"}
    found = answer("generate", native(completion_tokens=1, finish_reason=why), timed_events.DONE)
    assert (found.error, found.detail) == (ErrorKind.ABORTED, "out of memory")


@pytest.mark.parametrize(
    ("body", "status", "kind", "words"),
    [
        (b'{"error":{"message":"no worker"}}', 503, ErrorKind.HTTP, "HTTP 503: no worker"),
        (b"<html>", 502, ErrorKind.HTTP, "HTTP 502: <html>"),
        (b"", 500, ErrorKind.HTTP, "HTTP 500: no body"),
        (b'{"text":"hi"}', 200, ErrorKind.MALFORMED, 'HTTP 200 without a stream: {"text":"hi"}'),
        (b"", 200, ErrorKind.MALFORMED, "HTTP 200 without a stream: no body"),
        (b"data: {\n\n", 200, ErrorKind.MALFORMED, "an event makes no sense"),
        (b"data: []\n\n", 200, ErrorKind.MALFORMED, "an event makes no sense"),
        (b"data: {}\n\n", 200, ErrorKind.MALFORMED, "an event makes no sense"),
        (b"data: [DONE]\n\n", 200, ErrorKind.CUT, "without a finish reason"),
        (b"data: [DONE]\n\ndata: {}\n\n", 200, ErrorKind.MALFORMED, "events follow [DONE]"),
    ],
)
@pytest.mark.parametrize("name", APIS)
def test_what_is_no_stream_is_named(
    name: str, body: bytes, status: int, kind: ErrorKind, words: str
) -> None:
    """A gateway's page or an odd answer is a stream without tokens, or a crash."""
    found = answer(name, body, status=status)
    assert found.error is kind
    assert words in found.detail


def test_a_stream_that_finishes_without_a_token_is_empty() -> None:
    """An answer of nothing counts as the fastest of all."""
    told = native(completion_tokens=0, finish_reason={"type": "stop"})
    assert answer("generate", told, timed_events.DONE).error is ErrorKind.EMPTY


def test_a_whole_stream_counts_although_the_connection_ends_oddly() -> None:
    """A server that closes without HTTP's last chunk has no answers at all."""
    found = answer("generate", SAMPLES["generate"], end=False)
    found.lose(9.0, ConnectionResetError())
    assert found.error is None


@settings(max_examples=60)
@given(st.binary(max_size=300))
def test_no_bytes_break_the_reader(body: bytes) -> None:
    """Garbage from a server ends the whole run."""
    for name in APIS:
        assert answer(name, b"data: " + body + b"\n\n", body).error


@given(
    st.recursive(
        st.none() | st.booleans() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(st.sampled_from(["error", "message", "object"]), inner)
        ),
    )
)
def test_any_document_has_a_message_or_none(document: Any) -> None:
    """An error of a shape that nobody thought of is a crash."""
    assert isinstance(message_of(document), str)
