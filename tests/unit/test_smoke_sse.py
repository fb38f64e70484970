"""Server-sent events: a whole stream is read, and nothing less passes for one."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ci.smoke.sse import parse

pytestmark = pytest.mark.unit

WHERE = "POST /x"
WHOLE = b'data: {"a": 1}\n\ndata: {"a": 2}\n\ndata: [DONE]\n\n'

objects = st.dictionaries(st.text().filter(lambda key: key not in {"error", "object"}), st.text())


def test_whole_stream_is_read() -> None:
    """All events come, in order, and the end mark does not."""
    assert parse(WHOLE, WHERE) == ({"a": 1}, {"a": 2})


def test_comments_and_other_line_ends_are_read() -> None:
    """Keep-alive comments and CRLF are well formed."""
    raw = b': ping\r\n\r\ndata: {"a": 1}\r\n\r\ndata:[DONE]\r\n\r\n'
    assert parse(raw, WHERE) == ({"a": 1},)


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
        (b'event: x\ndata: {"a": 1}\n\ndata: [DONE]\n\n', "not one data line: "),
        (b'{"a": 1}\n\ndata: [DONE]\n\n', "not one data line: "),
        (b'data: {"error": {"message": "no"}}\n\ndata: [DONE]\n\n', "it holds an error: "),
        (b'data: {"object": "error"}\n\ndata: [DONE]\n\n', "it holds an error: "),
        (b"data: \xff\n\ndata: [DONE]\n\n", "'utf-8' codec can't decode"),
    ],
)
def test_bad_stream_is_told(raw: bytes, problem: str) -> None:
    """The first line names the request and the problem, the rest is the raw text."""
    with pytest.raises(AssertionError) as caught:
        parse(raw, WHERE)
    first, _, rest = str(caught.value).partition("\n")
    assert first.startswith(f"POST /x: stream: {problem}")
    assert rest == raw.decode("utf-8", "replace")
