"""A typed client of one SGLang server, for control traffic.

Every call has one outer deadline and a bound on the body, so that neither a silent nor an
endless answer can hold a check. Whatever goes wrong becomes an error of `ci.errors` that
names the URL. Endpoints: SGLang 0.5.23, `sglang/srt/entrypoints/http_server.py`.
"""

from __future__ import annotations

import json
import socket
import ssl
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import anyio
import httpx

from ci.errors import (
    AnswerFault,
    BadAnswer,
    NameUnresolved,
    NotSglang,
    SglangCiError,
    Unreachable,
    Unresponsive,
)
from ci.server.reach import base_url, causes

MAX_BODY = 16 * 1024 * 1024
"""Most bytes of an answer; `/server_info` of a large server has about 100 kB."""

Json = dict[str, Any]


_KEY_WANTED = {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}
_SERVER_ERROR = httpx.codes.INTERNAL_SERVER_ERROR


@dataclass(frozen=True)
class _Answer:
    """An answer's status, its whole body as text, and where it redirects to."""

    status: int
    text: str
    target: str = ""


class ServerClient:
    """One server at `url`; use it as an async context manager.

    Args:
        url: The server's base URL, with or without a trailing slash.
        timeout: Most seconds of a call, from connecting to the last byte of the answer.
        transport: Another transport, for tests.
        stranger: The error for something else than the server that is expected.
        engine: What that server is called.

    Raises:
        UsageError: `url` is not the URL of a server.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout: float = 30.0,
        transport: httpx.AsyncBaseTransport | None = None,
        stranger: type[AnswerFault] = NotSglang,
        engine: str = "an SGLang server",
    ) -> None:
        self.url = base_url(url)
        self._stranger, self._engine = stranger, engine
        self.timeout = timeout
        self._http = httpx.AsyncClient(
            transport=transport,
            timeout=httpx.Timeout(timeout),
            trust_env=False,
            verify=_tls(self.url),
            follow_redirects=False,
        )

    async def __aenter__(self) -> Self:
        """Open the connection pool."""
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the connection pool."""
        await self._http.__aexit__(kind, error, trace)

    async def status(self, path: str) -> int:
        """Return the HTTP status of `GET path`, whatever it is."""
        return (await self._exchange("GET", path, None)).status

    async def model_info(self) -> Json:
        """Return `/model_info`.

        Raises:
            NotSglang: Something else answers there.
        """
        url, answer = f"{self.url}/model_info", await self._exchange("GET", "/model_info", None)
        try:
            info = _object(url, answer)
        except BadAnswer as error:
            if error.status in _KEY_WANTED or (error.status or 0) >= _SERVER_ERROR:
                raise
            raise NotSglang(url, f"not an SGLang server: {error.problem}") from error
        if not isinstance(info.get("model_path"), str):
            raise NotSglang(url, "not an SGLang server: the answer has no model_path")
        return info

    async def server_info(self) -> Json:
        """Return `/server_info`: all flags, the version, live internal state."""
        return await self.get("/server_info")

    async def served_models(self) -> list[str]:
        """Return the names under which `/v1/models` lists the served models."""
        models = await self.get("/v1/models")
        try:
            return [str(model["id"]) for model in models["data"]]
        except (KeyError, TypeError) as error:
            raise BadAnswer(f"{self.url}/v1/models", "is not a list of models") from error

    async def first_token(self, *, generation: bool = True) -> Json:
        """Ask for one token, or for an embedding where the model makes those."""
        if not generation:
            return await self.post("/v1/embeddings", {"input": "Hello"})
        parameters = {"max_new_tokens": 1, "temperature": 0, "ignore_eos": True}
        body = {"text": "Hello", "sampling_params": parameters}
        answer = await self.post("/generate", body)
        meta = answer.get("meta_info")
        tokens = meta.get("completion_tokens") if isinstance(meta, dict) else None
        if tokens != 1:
            raise BadAnswer(
                f"{self.url}/generate", f"one token was asked for, completion_tokens is {tokens!r}"
            )
        return answer

    async def get(self, path: str) -> Json:
        """Return the JSON object of `GET path`."""
        return _object(f"{self.url}{path}", await self._exchange("GET", path, None))

    async def post(self, path: str, body: Json) -> Json:
        """Return the JSON object with which the server answers `body`."""
        return _object(f"{self.url}{path}", await self._exchange("POST", path, body))

    async def _exchange(self, method: str, path: str, body: Json | None) -> _Answer:
        url = f"{self.url}{path}"
        try:
            with anyio.fail_after(self.timeout):
                async with self._http.stream(method, url, json=body) as response:
                    content = await self._read(response, url)
        except (TimeoutError, httpx.TimeoutException) as error:
            raise Unresponsive(url, f"no complete answer within {self.timeout:g} s") from error
        except (httpx.TransportError, httpx.DecodingError) as error:
            raise fault_of(url, error, self._stranger) from error
        target = response.headers.get("location", "")
        return _Answer(response.status_code, content.decode("utf-8", "replace"), target)

    async def _read(self, response: httpx.Response, url: str) -> bytes:
        content = bytearray()
        async for chunk in response.aiter_bytes():
            content += chunk
            if len(content) > MAX_BODY:
                problem = f"not {self._engine}: the answer is over {MAX_BODY} bytes long"
                raise self._stranger(url, problem)
        return bytes(content)


def _tls(url: str) -> ssl.SSLContext:
    """Return how certificates are verified; for http, where there are none, at no cost."""
    if url.startswith("https"):
        return ssl.create_default_context()
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _object(url: str, answer: _Answer) -> Json:
    """Return the JSON object that an answer holds."""
    status, text = answer.status, answer.text
    if status != httpx.codes.OK:
        problem = f"HTTP {status}: {_hint(answer)}{_brief(text)}"
        raise BadAnswer(url, problem, status=status, body=text)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadAnswer(url, f"HTTP 200 without JSON: {_brief(text)}", body=text) from error
    if not isinstance(content, dict):
        raise BadAnswer(url, f"JSON, but no object: {_brief(text)}", body=text)
    return content


def _hint(answer: _Answer) -> str:
    if answer.target:
        return f"redirects to {answer.target}: "
    return "it wants an API key, and none is sent: " if answer.status in _KEY_WANTED else ""


def fault_of(url: str, error: Exception, stranger: type[AnswerFault] = NotSglang) -> SglangCiError:
    """Turn a transport error into this package's error for the same fault.

    Args:
        url: Where it happened.
        error: The transport error.
        stranger: The error for something else than the server that is expected.
    """
    chain = list(causes(error))
    if any(isinstance(cause, socket.gaierror) for cause in chain):
        return NameUnresolved(f"{url}: the host's name has no address here")
    for cause in chain:
        if isinstance(cause, ssl.SSLError):
            return stranger(url, _tls_problem(cause))
    if any(isinstance(cause, ConnectionRefusedError) for cause in chain):
        return Unreachable(url, "connection refused", refused=True)
    if isinstance(error, httpx.ConnectError):
        return Unreachable(url, f"can't connect: {chain[-1]}")
    return _cut(url, error, stranger)


def _tls_problem(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        why = error.verify_message.lower()
        return f"its certificate isn't trusted ({why}); let SSL_CERT_FILE name its authority's"
    return f"does not speak TLS ({error.reason}); is it http://?"


def _cut(url: str, error: Exception, stranger: type[AnswerFault]) -> AnswerFault:
    text = str(error)
    if isinstance(error, httpx.RemoteProtocolError) and "disconnected" not in text:
        if "incomplete" in text or "peer closed" in text:
            return BadAnswer(url, f"the answer was cut: {text}")
        return stranger(url, f"answers, but not in HTTP ({text}); is it https://?")
    if isinstance(error, httpx.DecodingError):
        return BadAnswer(url, f"the answer can't be decoded: {text}")
    return Unreachable(url, f"connection cut before an answer ({text or type(error).__name__})")


def _brief(text: str, length: int = 120) -> str:
    """Return the start of `text` on one line."""
    line = " ".join(text.split()) or "empty"
    return line if len(line) <= length else f"{line[:length]}…"
