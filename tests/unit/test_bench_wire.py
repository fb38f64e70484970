"""The wire: every piece is stamped before any is parsed, and nothing outlives its connection."""

from __future__ import annotations

import asyncio
import itertools
import ssl

import pytest

from ci.bench import wire
from ci.bench.page import ReceivedPage
from ci.bench.records import ErrorKind
from ci.bench.wire import Connection, Inbox, blame

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n"


class Transport(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        """Keep nothing yet."""
        super().__init__()
        self.written: list[object] = []
        self.aborted = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Keep it."""
        self.written.append(data)

    def abort(self) -> None:
        """Note it."""
        self.aborted = True


def connected(inbox: Inbox, page: ReceivedPage) -> Connection:
    """Return a connection that waits for an answer."""
    connection = Connection(inbox)
    connection.connection_made(Transport())
    connection.ask(b"GET", page)
    return connection


def arrive(connection: Connection, data: bytes) -> None:
    """Let bytes arrive as the event loop does."""
    buffer = connection.get_buffer(-1)
    buffer[: len(data)] = data
    connection.buffer_updated(len(data))


async def test_every_piece_is_stamped_before_any_is_parsed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where many streams bring a token at once, the last is late by the reading of all others."""
    clock, loop = itertools.count(), asyncio.get_running_loop()
    monkeypatch.setattr(wire, "monotonic", lambda: float(next(clock)))
    stamps = []

    class Slow(ReceivedPage):
        def body(self, stamp: float, data: bytes) -> None:
            stamps.append(stamp)
            for _ in range(100):
                next(clock)
            super().body(stamp, data)

    inbox = Inbox(loop)
    pages = [Slow(loop) for _ in range(5)]
    for page in pages:
        arrive(connected(inbox, page), HEAD + b"abcd")
    assert await asyncio.gather(*(page.ended for page in pages)) == [0, 1, 2, 3, 4]
    assert stamps == [0, 1, 2, 3, 4]
    assert {page.content for page in pages} == {b"abcd"}


async def test_bytes_before_the_end_of_a_connection_are_read_before_it() -> None:
    """An answer whose connection closes right after it counts as cut."""
    loop = asyncio.get_running_loop()
    page = ReceivedPage(loop)
    connection = connected(Inbox(loop), page)
    arrive(connection, HEAD)
    arrive(connection, b"abcd")
    connection.connection_lost(None)
    await page.ended
    assert (page.problem, page.content) == ("", b"abcd")
    assert not connection.usable


@pytest.mark.parametrize(
    ("head", "usable"),
    [
        (HEAD, True),
        (HEAD.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"), False),
        (HEAD.replace(b"1.1", b"1.0"), False),
    ],
)
async def test_a_server_says_whether_a_connection_stays(head: bytes, *, usable: bool) -> None:
    """A request is sent on a connection that the server is about to close."""
    loop = asyncio.get_running_loop()
    page = ReceivedPage(loop)
    connection = connected(Inbox(loop), page)
    arrive(connection, head + b"abcd")
    await page.ended
    assert connection.usable is usable


async def test_what_nobody_asked_for_makes_a_connection_useless() -> None:
    """Bytes after an answer are read as the next one's."""
    loop = asyncio.get_running_loop()
    page = ReceivedPage(loop)
    connection = connected(Inbox(loop), page)
    arrive(connection, HEAD + b"abcd")
    await page.ended
    arrive(connection, b"HTTP/1.1 408 Request Timeout\r\n\r\n")
    await asyncio.sleep(0)
    assert not connection.usable


async def test_a_page_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """An endless page fills the memory."""
    monkeypatch.setattr("ci.bench.page.MAX_BODY", 3)
    page = ReceivedPage(asyncio.get_running_loop())
    page.body(0.0, b"abcd")
    await page.ended
    assert "over 3 bytes" in page.problem


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ConnectionRefusedError(111, "refused"), ErrorKind.REFUSED),
        (TimeoutError(), ErrorKind.CONNECT_TIMEOUT),
        (ssl.SSLError(1, "wrong version"), ErrorKind.TLS),
        (OSError(24, "Too many open files"), ErrorKind.CLIENT),
        (OSError(99, "Cannot assign requested address"), ErrorKind.CLIENT),
        (OSError(113, "No route to host"), ErrorKind.CONNECT),
        (ConnectionResetError(104, "reset"), ErrorKind.CONNECT),
    ],
)
def test_who_is_to_blame_for_a_connection(error: OSError, kind: ErrorKind) -> None:
    """This machine's limit is the server's fault, or the other way round."""
    assert blame(error)[0] is kind
    assert blame(error)[1]
