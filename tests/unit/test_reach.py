"""A server's URL: what is one, and what is refused."""

from __future__ import annotations

import pytest

from ci.errors import UsageError
from ci.server.client import ServerClient
from ci.server.reach import base_url

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("localhost:30000", "http:// or https://"),
        ("127.0.0.1:30000", "http:// or https://"),
        ("ftp://localhost:1", "http:// or https://"),
        ("//localhost:1", "http:// or https://"),
        ("", "http:// or https://"),
        ("http://", "http:// or https://"),
        ("http:///path", "http:// or https://"),
        ("http://:30000", "lacks a host"),
        ("http://h:99999", "Port out of range"),
        ("http://h:x", "Port could not be cast"),
        ("http://h:0", "port 0"),
        ("http://[::1", "IPv6"),
        ("http://a b:1", "white space"),
        ("http://h:1\n", "white space"),
        ("http://h:1?x=1", "more than a host"),
        ("http://h:1/#x", "more than a host"),
    ],
)
def test_what_is_no_url_is_a_usage_error(text: str, words: str) -> None:
    """A misspelt URL is polled for minutes, or makes a server FAILED that nobody asked."""
    with pytest.raises(UsageError) as caught:
        ServerClient(text)
    assert str(caught.value).startswith(f"{text!r} is no server's URL like http://127.0.0.1:30000")
    assert words in str(caught.value)


def test_a_password_in_a_url_is_refused_and_not_repeated() -> None:
    """A password stands in every report."""
    with pytest.raises(UsageError) as caught:
        base_url("http://user:secret@host:1")
    assert "secret" not in str(caught.value)


def test_a_url_may_have_a_path_and_a_slash() -> None:
    """A server behind a prefix can't be asked."""
    assert base_url("https://h/models/a/") == "https://h/models/a"
