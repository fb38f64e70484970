"""A typed client of one SGLang server, for control traffic.

Every call has one outer deadline and a bound on the body, so that neither a silent nor an
endless answer can hold a check. Whatever goes wrong becomes an error of `ci.errors` that
names the URL. Endpoints: SGLang 0.5.23, `sglang/srt/entrypoints/http_server.py`.
"""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Iterator
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

MAX_BODY = 16 * 1024 * 1024
"""Most bytes of an answer; `/server_info` of a large server has about 100 kB."""

Json = dict[str, Any]


class ServerClient:
    """One server at `url`; use it as an async context manager.

    Args:
        url: The server's base URL, with or without a trailing slash.
        timeout: Most seconds of a call, from connecting to the last byte of the answer.
        transport: Another transport, for tests.
    """

    def __init__(
        self, url: str, *, timeout: float = 30.0, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self.url = url.rstrip("/")
        self.timeout = timeout
        self._http = httpx.AsyncClient(
            transport=transport,
            timeout=httpx.Timeout(timeout),
            trust_env=False,
            verify=ssl.create_default_context(),
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
        status, _ = await self._exchange("GET", path, None)
        return status

    async def model_info(self) -> Json:
        """Return `/model_info`.

        Raises:
            NotSglang: Something else answers there.
        """
        try:
            info = await self._json("GET", "/model_info", None)
        except BadAnswer as error:
            if error.status is not None and error.status >= httpx.codes.INTERNAL_SERVER_ERROR:
                raise
            raise NotSglang(error.url, f"not an SGLang server: {error.problem}") from error
        if not isinstance(info.get("model_path"), str):
            raise NotSglang(
                f"{self.url}/model_info", "not an SGLang server: the answer has no model_path"
            )
        return info

    async def server_info(self) -> Json:
        """Return `/server_info`: all flags, the version, live internal state."""
        return await self._json("GET", "/server_info", None)

    async def served_models(self) -> list[str]:
        """Return the names under which `/v1/models` lists the served models."""
        models = await self._json("GET", "/v1/models", None)
        try:
            return [str(model["id"]) for model in models["data"]]
        except (KeyError, TypeError) as error:
            raise BadAnswer(f"{self.url}/v1/models", "is not a list of models") from error

    async def first_token(self, *, generation: bool = True) -> Json:
        """Ask for one token, or for an embedding where the model makes those."""
        if not generation:
            return await self._json("POST", "/v1/embeddings", {"input": "Hello"})
        parameters = {"max_new_tokens": 1, "temperature": 0, "ignore_eos": True}
        body = {"text": "Hello", "sampling_params": parameters}
        answer = await self._json("POST", "/generate", body)
        tokens = answer.get("meta_info", {}).get("completion_tokens")
        if tokens != 1:
            raise BadAnswer(
                f"{self.url}/generate", f"one token was asked for, completion_tokens is {tokens!r}"
            )
        return answer

    async def _json(self, method: str, path: str, body: Json | None) -> Json:
        status, content = await self._exchange(method, path, body)
        url, text = f"{self.url}{path}", content.decode("utf-8", "replace")
        if status != httpx.codes.OK:
            raise BadAnswer(url, f"HTTP {status}: {_brief(text)}", status=status, body=text)
        try:
            answer = json.loads(text)
        except ValueError as error:
            problem = f"HTTP 200 without JSON: {_brief(text)}"
            raise BadAnswer(url, problem, body=text) from error
        if not isinstance(answer, dict):
            raise BadAnswer(url, f"JSON, but no object: {_brief(text)}", body=text)
        return answer

    async def _exchange(self, method: str, path: str, body: Json | None) -> tuple[int, bytes]:
        url = f"{self.url}{path}"
        try:
            with anyio.fail_after(self.timeout):
                async with self._http.stream(method, url, json=body) as response:
                    return response.status_code, await _read(response, url)
        except TimeoutError as error:
            raise Unresponsive(url, f"no complete answer within {self.timeout:g} s") from error
        except (httpx.TransportError, httpx.InvalidURL, httpx.DecodingError) as error:
            raise fault_of(url, error) from error


async def _read(response: httpx.Response, url: str) -> bytes:
    content = bytearray()
    async for chunk in response.aiter_bytes():
        content += chunk
        if len(content) > MAX_BODY:
            raise NotSglang(url, f"not an SGLang server: the answer is over {MAX_BODY} bytes long")
    return bytes(content)


def fault_of(url: str, error: Exception) -> SglangCiError:
    """Turn a transport error into this package's error for the same fault."""
    chain = list(_causes(error))
    if any(isinstance(cause, socket.gaierror) for cause in chain):
        return NameUnresolved(f"{url}: the host's name has no address here")
    if any(isinstance(cause, ssl.SSLError) for cause in chain):
        return NotSglang(url, f"no TLS as it should be: {chain[-1]}; is it http://?")
    if isinstance(error, httpx.UnsupportedProtocol | httpx.InvalidURL):
        return NotSglang(url, f"not a URL of a server: {error}")
    if isinstance(error, httpx.ConnectError):
        refused = any(isinstance(cause, ConnectionRefusedError) for cause in chain)
        return Unreachable(url, "connection refused" if refused else f"can't connect: {chain[-1]}")
    return _cut(url, error)


def _cut(url: str, error: Exception) -> AnswerFault:
    text = str(error)
    if isinstance(error, httpx.RemoteProtocolError) and "disconnected" not in text:
        if "incomplete" in text or "peer closed" in text:
            return BadAnswer(url, f"the answer was cut: {text}")
        return NotSglang(url, f"answers, but not in HTTP ({text}); is it https://?")
    if isinstance(error, httpx.DecodingError):
        return BadAnswer(url, f"the answer can't be decoded: {text}")
    return Unreachable(url, f"connection cut before an answer ({text or type(error).__name__})")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _brief(text: str, length: int = 120) -> str:
    """Return the start of `text` on one line."""
    line = " ".join(text.split())
    return line if len(line) <= length else f"{line[:length]}…"
