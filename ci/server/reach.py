"""A server's base URL, and what led to an error on the way to it."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import SplitResult, urlsplit

from ci.errors import UsageError


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


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and what led to it, each address that was tried included."""
    while error is not None:
        yield error
        for part in getattr(error, "exceptions", ()):
            yield from causes(part)
        error = error.__cause__ or error.__context__
