"""What an exchange with a registry that went wrong means: one fault, in one line.

`Again` marks what a retry can help: a connection that was refused or cut, silence, 429 and
most of 5xx. A refusal, a full disk or an untrusted certificate is the same at any attempt.
"""

from __future__ import annotations

import json
import re
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from http.client import responses

import requests

from ci.errors import (
    ConflictingWrite,
    MissingArtifact,
    RegistryBusy,
    RegistryFault,
    RegistryFull,
    RegistryRefused,
    RegistryUnreachable,
)
from ci.registry.exchange import RegistryReply, RegistryRequest
from ci.secrets.veil import beginning

_KINDS: dict[int, type[RegistryFault]] = {
    HTTPStatus.UNAUTHORIZED: RegistryRefused,
    HTTPStatus.FORBIDDEN: RegistryRefused,
    HTTPStatus.NOT_FOUND: MissingArtifact,
    HTTPStatus.PRECONDITION_FAILED: ConflictingWrite,
    HTTPStatus.INSUFFICIENT_STORAGE: RegistryFull,
}
_FINAL = {HTTPStatus.NOT_IMPLEMENTED, HTTPStatus.HTTP_VERSION_NOT_SUPPORTED}
_FULL = re.compile(
    rb"no space left on device|enospc|disk quota exceeded|storage ?full"
    rb'|"err":\s*28\b',  # a Go registry's errno
    re.IGNORECASE,
)
_WANTS_TLS = re.compile(rb"http request .{0,20}to (an )?https", re.IGNORECASE)
_PLAIN = "it speaks plain HTTP, which registry.plain_http = true allows"
_TLS = "where it speaks TLS, registry.plain_http is to be false"
_CUT = requests.exceptions.ChunkedEncodingError
_LONGEST_TEXT = 300
_LONGEST_CHAIN = 20


class Again(Exception):
    """A fault that may be gone at the next attempt."""

    def __init__(
        self,
        kind: type[RegistryFault],
        ask: RegistryRequest,
        problem: str,
        wait: float | None = None,
    ) -> None:
        """Keep what to raise in the end, and the seconds that the registry asks to wait."""
        super().__init__(problem)
        self.kind, self.ask, self.problem, self.wait = kind, ask, problem, wait

    def fault(self, attempts: int) -> RegistryFault:
        """Return the fault that it is after so many attempts."""
        times = f" ({attempts} attempts)" if attempts > 1 else ""
        return self.kind(str(self.ask.reference), self.ask.phase, self.problem + times)


def refusal(ask: RegistryRequest, answer: RegistryReply, text: str) -> RegistryFault | Again:
    """Return what an answer of a status that wasn't asked for means.

    Args:
        ask: What was asked.
        answer: What was answered.
        text: What the registry says about it, free of secrets.
    """
    status = answer.status
    name = responses.get(status, "of no known status")
    problem = f"answered {status} {name}" + (f": {text}" if text else "")
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR and _FULL.search(answer.content):
        return _fault(RegistryFull, ask, f"no space is left there; {problem}")
    if status == HTTPStatus.BAD_REQUEST and _wants_tls(answer):
        return _fault(RegistryUnreachable, ask, f"{problem}; {_TLS}")
    if status in _KINDS:
        return _fault(_KINDS[status], ask, problem)
    passing = status >= HTTPStatus.INTERNAL_SERVER_ERROR and status not in _FINAL
    if passing or status == HTTPStatus.TOO_MANY_REQUESTS:
        wait = retry_after(answer.headers)
        asked = "" if wait is None else f", and asks to wait {wait:.0f} s"
        return Again(RegistryBusy, ask, problem + asked, wait)
    return _fault(RegistryFault, ask, problem)


def _wants_tls(answer: RegistryReply) -> bool:
    """Return whether a 400 means that; an answer to HEAD can't say why."""
    plain = answer.url.startswith("http:")
    return plain and (answer.ask.method == "HEAD" or bool(_WANTS_TLS.search(answer.content)))


def _fault(kind: type[RegistryFault], ask: RegistryRequest, problem: str) -> RegistryFault:
    return kind(str(ask.reference), ask.phase, problem)


def said(body: str) -> str:
    """Return what the body of an answer says, in one line; empty where nobody could read it."""
    try:
        errors = json.loads(body)["errors"]
        parts = [f"{error['code']}: {error.get('message', '')}" for error in errors]
        text = "; ".join(part.strip(": ") for part in parts)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        text = "" if body.lstrip().startswith("<") else body
    line = beginning(" ".join(text.split()), _LONGEST_TEXT)
    return "".join(letter for letter in line if letter.isprintable())


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that `Retry-After` asks to wait; None where it doesn't."""
    text = headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except ValueError:
        return None


def failure(
    ask: RegistryRequest, error: requests.RequestException, timeout: float
) -> RegistryFault | Again:
    """Return what an exchange without an answer means; `timeout` in seconds."""
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, ssl.SSLError):
            return _tls(ask, cause)
        if isinstance(cause, socket.gaierror):
            return _unnamed(ask, cause)
    if not isinstance(error, requests.ConnectionError | requests.Timeout | _CUT):
        return _fault(RegistryFault, ask, f"an answer that can't be read ({type(error).__name__})")
    return Again(RegistryUnreachable, ask, _silence(error, causes, timeout))


def _unnamed(ask: RegistryRequest, error: socket.gaierror) -> RegistryFault | Again:
    problem = "its host's name has no address here"
    if error.errno == socket.EAI_AGAIN:
        return Again(RegistryUnreachable, ask, problem)
    return _fault(RegistryUnreachable, ask, problem)


def _silence(error: requests.RequestException, causes: list[BaseException], timeout: float) -> str:
    through = " at a proxy" if isinstance(error, requests.exceptions.ProxyError) else ""
    if isinstance(error, requests.ConnectTimeout):
        return f"no connection within {timeout:g} s{through}"
    if isinstance(error, requests.Timeout):
        return f"no answer within {timeout:g} s{through}"
    if any(isinstance(each, TimeoutError) for each in causes):
        return f"nothing moved for {timeout:g} s{through}"
    if any(isinstance(each, ConnectionRefusedError) for each in causes):
        return f"connection refused{through}"
    return f"the connection was cut{through}"


def _tls(ask: RegistryRequest, error: ssl.SSLError) -> RegistryFault | Again:
    if isinstance(error, ssl.SSLCertVerificationError):
        problem = f"its certificate isn't trusted ({error.verify_message})"
        hint = "registry.ca_file names a file of certificates to trust"
        return _fault(RegistryUnreachable, ask, f"{problem}; {hint}")
    if error.reason in {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST"}:
        return _fault(RegistryUnreachable, ask, _PLAIN)
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError | ssl.SSLSyscallError):
        return Again(RegistryUnreachable, ask, "the connection was cut")
    return _fault(RegistryUnreachable, ask, f"no TLS with it ({error.reason or 'unknown reason'})")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what led to it."""
    cause: BaseException | None = error
    for _ in range(_LONGEST_CHAIN):
        if cause is None:
            return
        yield cause
        cause = cause.__cause__ or cause.__context__
