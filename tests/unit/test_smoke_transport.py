"""The client: bounded in time and bytes, and every fault of a connection is told in one line."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import httpx
import pytest

from ci.server import door
from ci.smoke.transport import blame, explain, open_client
from ci.verdict import Outcome

pytestmark = pytest.mark.unit

TIMEOUT = 0.3
HEAD = b"HTTP/1.1 200 OK\r\n"


@contextmanager
def server(talk: Callable[[socket.socket], None]) -> Iterator[str]:
    """Accept one connection, read the request and talk; yield the URL."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection, suppress(OSError):
                connection.recv(65536)
                talk(connection)

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def failure(url: str) -> httpx.HTTPError:
    """Return what goes wrong with a request."""
    with open_client(url, TIMEOUT) as client, pytest.raises(httpx.HTTPError) as caught:
        client.get("/thing").raise_for_status()
    return caught.value


def trickle(connection: socket.socket) -> None:
    """Send a byte now and then, for longer than anybody waits."""
    connection.sendall(HEAD + b"\r\n")
    for _ in range(1000):
        time.sleep(TIMEOUT / 4)
        connection.sendall(b"x")


def flood(connection: socket.socket) -> None:
    """Send more than anybody takes."""
    connection.sendall(HEAD + b"\r\n")
    for _ in range(1000):
        connection.sendall(b"x" * 65536)


CASES: dict[str, tuple[Callable[[socket.socket], None], str]] = {
    "silence": (lambda _: time.sleep(TIMEOUT * 4), "no answer within 0.3 s"),
    "trickle": (trickle, "the answer did not end within 0.3 s"),
    "flood": (flood, "the answer is over 1000000 bytes long"),
    "cut": (
        lambda connection: connection.sendall(HEAD + b"content-length: 9\r\n\r\nabc"),
        "the answer was cut after 3 bytes",
    ),
    "closed": (lambda _: None, "connection cut before an answer"),
    "no http": (lambda connection: connection.sendall(b"hello\r\n\r\n"), "not in HTTP"),
}


@pytest.mark.parametrize("case", CASES)
def test_fault_is_told(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each fault ends the request and is told with the request; else it hangs or is a riddle."""
    monkeypatch.setattr(door, "MAX_BODY", 1_000_000)
    talk, problem = CASES[case]
    with server(talk) as url:
        error = failure(url)
    assert explain(error).startswith("GET /thing: ")
    assert problem in explain(error)


def test_refused_connection_is_told() -> None:
    """A closed port is told as such."""
    assert explain(failure("http://127.0.0.1:1")) == "GET /thing: connection refused"


def test_status_is_told_with_the_bodys_first_line() -> None:
    """An error status comes with the first line of what the server says about it."""
    page = b"HTTP/1.1 503 Busy\r\ncontent-length: 10\r\n\r\nbusy\nlater"
    with server(lambda connection: connection.sendall(page)) as url:
        assert explain(failure(url)) == "GET /thing: HTTP 503: busy"


def test_where_a_redirect_leads_is_told() -> None:
    """A server that moved answers 307 to everything, and nobody knows where it went."""
    page = b"HTTP/1.1 307 Moved\r\nlocation: http://a/b\r\ncontent-length: 0\r\n\r\n"
    with server(lambda connection: connection.sendall(page)) as url:
        assert explain(failure(url)) == "GET /thing: HTTP 307: redirects to http://a/b: no body"


def test_proxies_of_the_surroundings_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy variable doesn't send requests elsewhere; else the wrong server is judged."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    page = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
    with (
        server(lambda connection: connection.sendall(page)) as url,
        open_client(url, TIMEOUT) as client,
    ):
        assert client.get("/").text == "ok"


def test_unknown_host_is_no_fault_of_a_server() -> None:
    """A name without an address is ERROR; else a typing error is taken for a bad server."""
    request = httpx.Request("GET", "http://nowhere.invalid/thing")
    error = httpx.ConnectError("no address", request=request)
    error.__cause__ = socket.gaierror(-2, "Name or service not known")
    assert blame(error) is Outcome.ERROR
    assert explain(error) == "GET /thing: the host's name has no address here"


def test_closed_port_is_a_fault_of_the_server() -> None:
    """A host that has an address and refuses is FAILED."""
    assert blame(failure("http://127.0.0.1:1")) is Outcome.FAILED
