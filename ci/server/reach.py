"""A server's base URL, and what keeps a connection to it from being made."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from urllib.parse import SplitResult, urlsplit

import anyio
import anyio.abc

from ci.errors import NameUnresolved, UsageError


def base_url(text: str) -> str:
    """Return `text` as a server's base URL, without a trailing slash.

    Raises:
        UsageError: It is something else.
    """
    if "@" in text:
        raise UsageError("a server's URL with a user or password in it would be in every report")
    try:
        problem = _problem(urlsplit(text))
    except ValueError as error:
        problem = str(error)
    if not text.isprintable() or " " in text:
        problem = "it has white space in it"
    if problem:
        raise UsageError(f"{text!r} is no server's URL like http://127.0.0.1:30000: {problem}")
    return text.rstrip("/")


def _problem(url: SplitResult) -> str:
    if url.scheme not in {"http", "https"} or not url.netloc:
        return "it has to start with http:// or https://"
    if not url.hostname or url.port == 0:
        return "it lacks a host" if not url.hostname else "port 0 can't be reached"
    return "it has more than a host, a port and a path" if url.query or url.fragment else ""


async def obstacle(url: str, seconds: float, hold: float) -> str:
    """Return what keeps a connection to `url` from being made; empty where one holds.

    Args:
        url: A server's base URL.
        seconds: Most seconds until it is made.
        hold: Seconds for which it must not be cut.

    Raises:
        NameUnresolved: The URL's host has no address.
    """
    at = urlsplit(url)
    try:
        with anyio.fail_after(seconds):
            port = at.port or (443 if at.scheme == "https" else 80)
            async with await anyio.connect_tcp(at.hostname or "", port) as stream:
                return "" if await _holds(stream, hold) else "connections are cut at once"
    except TimeoutError:
        return f"no connection within {seconds:g} s"
    except OSError as error:
        chain = list(causes(error))
        if any(isinstance(cause, socket.gaierror) for cause in chain):
            raise NameUnresolved(f"{url}: the host's name has no address here") from error
        refused = any(isinstance(cause, ConnectionRefusedError) for cause in chain)
        return "connection refused" if refused else str(chain[-1])


async def _holds(stream: anyio.abc.ByteStream, seconds: float) -> bool:
    try:
        with anyio.move_on_after(seconds):
            await stream.receive()
    except (anyio.EndOfStream, anyio.BrokenResourceError):
        return False
    return True


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and what led to it, each address that was tried included."""
    while error is not None:
        yield error
        for part in getattr(error, "exceptions", ()):
            yield from causes(part)
        error = error.__cause__ or error.__context__
