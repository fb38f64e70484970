"""Whether a refused request was refused by the server itself, and not by something before it."""

from __future__ import annotations

from typing import Any

import httpx

from ci.smoke.server import Server
from ci.smoke.transport import status_line


def refused(response: httpx.Response, server: Server) -> None:
    """Assert that a request got 4xx and a reason, from the server itself.

    SGLang's reasons are JSON; another engine's may be plain text, but never a page for people,
    as a proxy's is.

    Raises:
        AssertionError: It got something else; the message says what, and from whom.
    """
    if problem := _problem(response, server):
        raise AssertionError(f"{response.request.url.path}: {problem}")


def _problem(response: httpx.Response, server: Server) -> str:
    told = status_line(response)
    if not response.is_client_error:
        return f"4xx is due, it got {told}"
    if not response.text.strip():
        return f"HTTP {response.status_code} gives no reason"
    if _reason(response) if server.can("native") else "html" not in _kind(response):
        return ""
    by = response.headers.get("server", "something before it")
    return f"refused by {by} and not by the server itself: {_kind(response)}, {told}"


def _kind(response: httpx.Response) -> str:
    return str(response.headers.get("content-type", "no content-type")).partition(";")[0]


def _reason(response: httpx.Response) -> str:
    """Return the reason that an error of SGLang, or of the FastAPI below it, gives."""
    try:
        answer: Any = response.json()
    except ValueError:
        return ""
    if not isinstance(answer, dict):
        return ""
    error = answer.get("error")
    inner = error.get("message") if isinstance(error, dict) else error
    outer = answer.get("message") if answer.get("object") == "error" else answer.get("detail")
    return str(inner or outer or "")
