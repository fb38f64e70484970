"""The HTTP client that smoke cases use: plain httpx, through the same door as every other check.

A request ends within its timeout and an answer at 16 MiB, so that neither a silent nor an
endless server can hold a case. No connection is used twice: a server that closes an idle one
(SGLang does after a 500) would look like a reset of the next request.
"""

from __future__ import annotations

import httpx

from ci.errors import KeyRefused, NameUnresolved
from ci.secrets.veil import beginning
from ci.server.bounded import BodyFault
from ci.server.door import Door
from ci.server.faults import fault_of, refusal
from ci.verdict import Outcome

CONNECT_TIMEOUT = 5.0
"""Most seconds until a connection is accepted."""


def open_client(url: str, timeout: float) -> httpx.Client:
    """Return a client of the server at `url`; a request may take `timeout` seconds."""
    return Door.to(url, timeout).blocking(CONNECT_TIMEOUT)


def key_in(headers: httpx.Headers) -> str:
    """Return the API key that headers of a request hold; empty for none."""
    return str(headers.get("authorization", "")).removeprefix("Bearer ")


def refused_key(response: httpx.Response) -> KeyRefused | None:
    """Return the error of an answer that asks for another API key; None for any other answer."""
    request = response.request
    where = f"{request.method} {request.url.path}"
    return refusal(where, response.status_code, _text(response), key_in(request.headers))


def blame(error: httpx.HTTPError) -> Outcome:
    """Return FAILED, or ERROR where no server could be asked because its host has no address."""
    unresolved = isinstance(fault_of("", error), NameUnresolved)
    return Outcome.ERROR if unresolved else Outcome.FAILED


def explain(error: httpx.HTTPError) -> str:
    """Return one line on what the server did wrong, with the request it did that to."""
    where = f"{error.request.method} {error.request.url.path}"
    if isinstance(error, httpx.HTTPStatusError):
        return f"{where}: {status_line(error.response)}"
    if isinstance(error, BodyFault):
        return f"{where}: {error}"
    if isinstance(error, httpx.TimeoutException):
        timeouts = error.request.extensions["timeout"]
        connecting = isinstance(error, httpx.ConnectTimeout)
        what, key = ("connection", "connect") if connecting else ("answer", "read")
        return f"{where}: no {what} within {timeouts[key]:g} s"
    return str(fault_of(where, error))


def status_line(response: httpx.Response) -> str:
    """Return an answer's status, where it redirects to, and the first line of its body."""
    lines = _text(response).strip().splitlines()
    target = response.headers.get("location", "")
    told = f"redirects to {target}: " if target else ""
    return f"HTTP {response.status_code}: {told}{beginning(lines[0], 200) if lines else 'no body'}"


def _text(response: httpx.Response) -> str:
    """Return an answer's body, where that was read."""
    try:
        return response.text
    except httpx.ResponseNotRead:
        return ""
