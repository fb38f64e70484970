"""HTTP/1.1 over one socket, with every piece stamped before anything else is done with it.

Where many streams bring a token at once, a client that parses each piece as it comes gives
the last of them the time that all others took. Here a piece is read, stamped and put into
the `Inbox`; they are parsed when every socket that was ready has been read.
"""

from __future__ import annotations

import asyncio
import errno
import re
import ssl
from time import monotonic
from typing import Protocol, cast

import httptools

from ci.bench.records import ErrorKind
from ci.server.faults import tls_problem

BUFFER = 256 * 1024
"""Most bytes that are read from a socket at once."""

_OURS = {errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS, errno.ENOMEM}
"""What keeps a connection from being made that is no fault of the server."""


_REDIRECTS = range(300, 400)
_LOCATION = re.compile(rb"\r\nlocation:([^\r\n]*)", re.IGNORECASE)


class Receiver(Protocol):
    """Who takes an answer while it comes in; stamps are seconds of the monotonic clock."""

    heard: float | None

    def head(self, status: int, target: str = "") -> None:
        """Take the status, and where the answer redirects to."""
        ...

    def body(self, stamp: float, data: bytes) -> None:
        """Take a piece of the body."""
        ...

    def end(self, stamp: float) -> None:
        """Take in that the message is complete."""
        ...

    def lose(self, stamp: float, error: BaseException | None) -> None:
        """Take in that the connection is gone."""
        ...

    def give_up(self, stamp: float, kind: ErrorKind, detail: str) -> None:
        """Fail now."""
        ...


class Inbox:
    """What came in and isn't parsed yet, in the order of its arrival."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Make the buffer that all connections of one event loop share."""
        self.buffer = memoryview(bytearray(BUFFER))
        self._loop = loop
        self._pieces: list[tuple[Connection, float, bytes | None]] = []

    def put(self, connection: Connection, stamp: float, data: bytes | None) -> None:
        """Keep a piece, or None for the end of a connection, until all sockets are read."""
        if not self._pieces:
            self._loop.call_soon(self._empty)
        self._pieces.append((connection, stamp, data))

    def _empty(self) -> None:
        pieces, self._pieces = self._pieces, []
        for connection, stamp, data in pieces:
            connection.take(stamp, data)


class Connection(asyncio.BufferedProtocol):
    """One connection, for one request at a time.

    Attributes:
        free_since: When it last became free.
        usable: Whether another request may be sent on it.
    """

    def __init__(self, inbox: Inbox) -> None:
        """Wait to be connected."""
        self._inbox, self._stamp, self._error = inbox, 0.0, cast("BaseException | None", None)
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._piece = b""
        self.receiver: Receiver | None = None
        self.usable, self.free_since = True, 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport; asyncio has set TCP_NODELAY on it."""
        self._transport = cast("asyncio.Transport", transport)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's signature
        """Return the buffer that is read into; it is emptied before anybody else reads."""
        return self._inbox.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Stamp what was read."""
        self._inbox.put(self, monotonic(), bytes(self._inbox.buffer[:nbytes]))

    def connection_lost(self, exc: Exception | None) -> None:
        """Stamp the end."""
        self.usable, self._error = False, exc
        self._inbox.put(self, monotonic(), None)

    def ask(self, request: bytes, receiver: Receiver) -> None:
        """Send a whole request; `receiver` takes its answer."""
        assert self._transport  # noqa: S101 - a connection is handed out after it is made
        self.receiver, self._parser = receiver, httptools.HttpResponseParser(self)
        self._transport.write(request)

    def close(self) -> None:
        """Let go of the connection at once, and of whatever is under way on it."""
        self.usable, self.receiver = False, None
        if self._transport:
            self._transport.abort()

    def take(self, stamp: float, data: bytes | None) -> None:
        """Parse a piece."""
        self._stamp = stamp
        receiver = self.receiver
        if receiver is None or self._parser is None:
            self.usable = self.usable and data is None
            return
        if data is None:
            self.receiver = None
            receiver.lose(stamp, self._error)
            return
        receiver.heard, self._piece = stamp, data
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self.close()
            receiver.give_up(stamp, ErrorKind.MALFORMED, f"the answer isn't HTTP: {error}")

    def on_headers_complete(self) -> None:
        """Pass on the status, and of a redirect where it leads."""
        if self.receiver and self._parser:
            status = self._parser.get_status_code()
            self.receiver.head(status, self._target() if status in _REDIRECTS else "")

    def _target(self) -> str:
        """Return where a redirect leads, as the piece of its head that came last says."""
        found = _LOCATION.search(self._piece)
        return found[1].decode("latin-1").strip() if found else ""

    def on_body(self, data: bytes) -> None:
        """Pass on a piece of the body, of which a chunk's frame has been taken off."""
        if self.receiver:
            self.receiver.body(self._stamp, data)

    def on_message_complete(self) -> None:
        """Pass on the end, and become free."""
        receiver, self.receiver = self.receiver, None
        if receiver is None or self._parser is None:
            return
        self.usable = self.usable and self._parser.should_keep_alive()
        self.free_since = self._stamp
        receiver.end(self._stamp)


def blame(error: OSError) -> tuple[ErrorKind, str]:
    """Return the kind of an error that kept a connection from being made, and what it says."""
    if isinstance(error, ssl.SSLError):
        return ErrorKind.TLS, tls_problem(error)
    if isinstance(error, TimeoutError):
        return ErrorKind.CONNECT_TIMEOUT, "no connection in time"
    if isinstance(error, ConnectionRefusedError):
        return ErrorKind.REFUSED, "nothing listens there"
    kind = ErrorKind.CLIENT if error.errno in _OURS else ErrorKind.CONNECT
    return kind, error.strerror or str(error)
