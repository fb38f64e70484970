"""What goes wrong with a request, as this package's errors: one line that names the cure."""

from __future__ import annotations

import socket
import ssl

import httpx

from ci.errors import (
    AnswerFault,
    BadAnswer,
    KeyRefused,
    NameUnresolved,
    NotSglang,
    SglangCiError,
    Unreachable,
)
from ci.secrets.veil import beginning
from ci.server.bounded import BodyFault
from ci.server.key import variable_of
from ci.server.reach import causes

REFUSALS = {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}
"""How a server, or a proxy before it, asks for another key."""
_TOO_LONG = "Receive buffer too long"
_NO_HTTP = ("illegal status line", "illegal request line")


def fault_of(url: str, error: Exception, stranger: type[AnswerFault] = NotSglang) -> SglangCiError:
    """Turn a transport error into this package's error for the same fault.

    Args:
        url: Where it happened.
        error: The transport error.
        stranger: The error for something else than the server that is expected.
    """
    if isinstance(error, BodyFault):
        return BadAnswer(url, str(error))
    chain = list(causes(error))
    if any(isinstance(cause, socket.gaierror) for cause in chain):
        return NameUnresolved(f"{url}: the host's name has no address here")
    for cause in chain:
        if isinstance(cause, ssl.SSLError):
            return stranger(url, tls_problem(cause))
    if any(isinstance(cause, ConnectionRefusedError) for cause in chain):
        return Unreachable(url, "connection refused", refused=True)
    if isinstance(error, httpx.ConnectError):
        return Unreachable(url, f"can't connect: {chain[-1]}")
    return _cut(url, error, stranger)


def tls_problem(error: ssl.SSLError) -> str:
    """Return why no connection over TLS came about, with the cure."""
    if isinstance(error, ssl.SSLCertVerificationError):
        why = error.verify_message.lower()
        return f"its certificate isn't trusted ({why}); let SSL_CERT_FILE name its authority's"
    why = getattr(error, "reason", "") or str(error)
    return f"does not speak TLS ({why}); is it http://?"


def _cut(url: str, error: Exception, stranger: type[AnswerFault]) -> AnswerFault:
    text = str(error)
    if isinstance(error, httpx.RemoteProtocolError) and "disconnected" not in text:
        return stranger(url, _broken_http(text))
    return Unreachable(url, f"connection cut before an answer ({text or type(error).__name__})")


def _broken_http(text: str) -> str:
    if text.startswith(_NO_HTTP):
        return f"answers, but not in HTTP ({text}); is it https://?"
    if text == _TOO_LONG:
        return "answers with headers that have no end"
    return f"answers in broken HTTP ({text})"


def refusal(url: str, status: int, body: str, key: str) -> KeyRefused | None:
    """Return the error of an answer that asks for another key; None for any other answer.

    Args:
        url: What was asked.
        status: The answer's HTTP status.
        body: Its body, which may repeat the key.
        key: The key that was sent; empty where none was.
    """
    if status not in REFUSALS:
        return None
    said = body.replace(key, "…") if key else body
    variable = variable_of(url)
    cure = f"the server wants an API key: set {variable}"
    if key:
        cure = f"the server refuses this API key: set {variable} to another one"
    told = f"; it says: {brief(said, 80)}" if said.strip() else ""
    return KeyRefused(url, cure + told, status, details=said)


def is_passing(status: int) -> bool:
    """Return whether a status says that another time the answer may be another one."""
    return status >= httpx.codes.INTERNAL_SERVER_ERROR or status == httpx.codes.TOO_MANY_REQUESTS


def status_line(status: int, target: str = "") -> str:
    """Return an answer's status, and where it redirects to, in words."""
    return f"HTTP {status}, redirects to {target}" if target else f"HTTP {status}"


def brief(text: str, length: int = 120) -> str:
    """Return the start of `text` on one line."""
    line = " ".join(text.split()) or "empty"
    return line if len(line) <= length else f"{beginning(line, length)}…"
