"""A proxy in front of servers: goes over to the next one, or holds answers back until their end.

It passes on whole requests of HTTP/1.1, one a connection, byte by byte below HTTP: so a held
answer keeps its chunks.
"""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

from tests.fakes.faulty import Connection, listening

Choose = Callable[[int], int]
"""Returns which server gets the request of that number, from 0."""


def after(count: int) -> Choose:
    """Return what goes over from the first server to the second after `count` requests."""
    return lambda number: int(number >= count)


@contextmanager
def relaying(
    urls: Sequence[str],
    choose: Choose = lambda _: 0,
    *,
    hold: bool = False,
    headers: Sequence[str] = (),
    pick: Callable[[bytes], int] | None = None,
) -> Iterator[str]:
    """Yield the URL of a proxy in front of the servers at `urls`.

    Args:
        urls: The servers.
        choose: Which of them gets which request.
        hold: Whether an answer is passed on only when it is whole.
        headers: A header line for the answers of each server; none where empty.
        pick: Which of them gets a request, by its bytes; instead of `choose`.
    """
    numbers, lock = iter(range(10**9)), threading.Lock()

    def behave(connection: Connection) -> None:
        request = connection.read()
        if not request:
            return
        with lock:
            chosen = pick(request) if pick else choose(next(numbers))
        at, more = urlsplit(urls[chosen]), headers[chosen] if headers else ""
        with socket.create_connection((at.hostname or "", at.port or 80)) as server:
            server.sendall(_closing(request))
            _pass_on(server, connection, more, hold=hold)

    with listening(behave) as url:
        yield url


def _closing(request: bytes) -> bytes:
    """Return a request after whose answer the server closes the connection."""
    head, end, body = request.partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"connection:")]
    return b"\r\n".join([*lines, b"connection: close"]) + end + body


def _pass_on(server: socket.socket, connection: Connection, more: str, *, hold: bool) -> None:
    came, lines = bytearray(), "\r\n".join(["", "connection: close", *filter(None, [more]), ""])
    with suppress(ConnectionResetError):
        while not _whole(came) and (piece := server.recv(65536)):
            if not came:
                piece = piece.replace(b"\r\n", lines.encode(), 1)
            came += piece
            if not hold:
                connection.send(piece)
    if hold:
        connection.send(bytes(came))


def _whole(answer: bytes | bytearray) -> bool:
    """Return whether an answer is complete, as far as that can be seen in it."""
    head, _, body = bytes(answer).partition(b"\r\n\r\n")
    if b"transfer-encoding: chunked" in head.lower():
        return body.endswith(b"0\r\n\r\n")
    length = re.search(rb"(?i)content-length: *(\d+)", head)
    return length is not None and len(body) >= int(length[1])
