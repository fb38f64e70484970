"""Server-sent events: a whole stream is read, and nothing less passes for one."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ci.smoke.sse import first_event, parse

pytestmark = pytest.mark.unit

WHERE = "POST /x"
WHOLE = b'data: {"a": 1}\n\ndata: {"a": 2}\n\ndata: [DONE]\n\n'

objects = st.dictionaries(st.text().filter(lambda key: key not in {"error", "object"}), st.text())


def test_whole_stream_is_read() -> None:
    """All events come, in order, and the end mark does not."""
    assert parse(WHOLE, WHERE) == ({"a": 1}, {"a": 2})


@pytest.mark.parametrize(
    "raw",
    [
        b': ping\r\n\r\ndata: {"a": 1}\r\n\r\ndata:[DONE]\r\n\r\n',
        b'event: x\nid: 1\ndata: {"a": 1}\n\ndata: [DONE]\n\n',
        b'data: {"a":\ndata: 1}\n\nodd\n\ndata: [DONE]\n\n',
        b'\xef\xbb\xbfdata: {"a": 1}\r\rdata: [DONE]\r\r',
    ],
)
def test_whatever_the_standard_allows_is_read(raw: bytes) -> None:
    """A good server fails for comments, fields, other line ends or a byte order mark."""
    assert parse(raw, WHERE) == ({"a": 1},)


def test_the_first_event_needs_no_more_than_its_bytes() -> None:
    """A stream in small packets, or after a comment, has no first event."""
    parts = (bytes([one]) for one in b': ping\n\ndata: {"a": 1}\n\n')
    assert first_event(parts, WHERE) == b'{"a": 1}'
    with pytest.raises(AssertionError, match="POST /x: no event in the stream: b'<html>'"):
        first_event([b"<html>"], WHERE)


@settings(deadline=None)
@given(st.lists(objects))
def test_whatever_is_sent_is_read(events: list[dict[str, str]]) -> None:
    """Any JSON objects come out as they went in."""
    lines = [f"data: {json.dumps(event)}\n\n" for event in events]
    assert list(parse("".join([*lines, "data: [DONE]\n\n"]).encode(), WHERE)) == events


@settings(deadline=None)
@given(st.integers(min_value=0, max_value=len(WHOLE) - 1))
def test_no_cut_stream_is_read(length: int) -> None:
    """A stream cut at any byte is refused; else a dead server's answer passes."""
    with pytest.raises(AssertionError, match="POST /x: stream: "):
        parse(WHOLE[:length], WHERE)


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        (b"", "it holds no event"),
        (b'data: {"a": 1}', "it was cut inside an event"),
        (b'data: {"a": 1}\n\n', "it ends without [DONE]"),
        (b'data: [DONE]\n\ndata: {"a": 1}\n\ndata: [DONE]\n\n', "events follow [DONE]"),
        (b'data: {"a": \n\ndata: [DONE]\n\n', "an event is not JSON: '{\"a\":'"),
        (b"data: 5\n\ndata: [DONE]\n\n", "an event is no JSON object: '5'"),
        (b"data\n\ndata: [DONE]\n\n", "an event is not JSON: ''"),
        (b'data: {"error": {"message": "no"}}\n\ndata: [DONE]\n\n', "it holds an error: "),
        (b'data: {"object": "error"}\n\ndata: [DONE]\n\n', "it holds an error: "),
        (b"data: \xff\n\ndata: [DONE]\n\n", "an event is not UTF-8: "),
    ],
)
def test_bad_stream_is_told(raw: bytes, problem: str) -> None:
    """The first line names the request and the problem, the rest is the raw text."""
    with pytest.raises(AssertionError) as caught:
        parse(raw, WHERE)
    first, _, rest = str(caught.value).partition("\n")
    assert first.startswith(f"POST /x: stream: {problem}")
    assert rest == raw.decode("utf-8", "replace")
