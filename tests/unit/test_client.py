"""The client: whatever answers, one error of the right class, one line, in time."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from ci.errors import (
    BadAnswer,
    KeyRefused,
    NameUnresolved,
    NotSglang,
    SglangCiError,
    Unreachable,
    Unresponsive,
)
from ci.server.client import ServerClient
from ci.server.door import MAX_BODY
from tests.fakes.faulty import BEHAVIOURS, closed_port, listening, self_signed
from tests.fakes.sglang import FakeSglang, Settings

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

HANG = 30.0
"""Most seconds before a call counts as hung."""

Call = Callable[[ServerClient], Awaitable[Any]]
MODEL: Call = ServerClient.model_info
TOKEN: Call = ServerClient.first_token


async def fault(url: str, call: Call = MODEL, *, limit: float = 5.0) -> SglangCiError:
    """Return the error with which a call ends; its message is one line on the URL."""
    with anyio.fail_after(HANG):
        async with ServerClient(url, timeout=limit) as client:
            with pytest.raises(SglangCiError) as caught:
                await call(client)
    message = str(caught.value)
    assert message.startswith(f"{url}/")
    assert len(message.splitlines()) == 1
    assert len(message) < 400
    return caught.value


@pytest.mark.parametrize(
    ("behaviour", "kind", "words"),
    [
        ("web page", NotSglang, "not an SGLang server: HTTP 200 without JSON: <!doctype"),
        ("web page, not found", NotSglang, "not an SGLang server: HTTP 404: <!doctype"),
        ("other API", NotSglang, "not an SGLang server: the answer has no model_path"),
        ("number for a path", NotSglang, "the answer has no model_path"),
        ("list", NotSglang, "JSON, but no object: []"),
        ("empty", NotSglang, "HTTP 200 without JSON: empty"),
        ("malformed", NotSglang, 'HTTP 200 without JSON: {"model_path"'),
        ("deep", NotSglang, "HTTP 200 without JSON: [[["),
        ("binary", NotSglang, "HTTP 200 without JSON"),
        ("redirect", NotSglang, "HTTP 307: redirects to https://elsewhere.example/"),
        ("endless", BadAnswer, f"the answer is over {MAX_BODY} bytes long"),
        ("packed flood", BadAnswer, f"the answer is over {MAX_BODY} bytes long"),
        ("endless header", NotSglang, "answers with headers that have no end"),
        ("endless header line", NotSglang, "answers with headers that have no end"),
        ("key wanted", KeyRefused, "HTTP 401: the server wants an API key: set SGLANG_API_KEY"),
        ("unavailable", BadAnswer, "HTTP 503:"),
        ("truncated", BadAnswer, "the answer was cut"),
        ("truncated chunk", BadAnswer, "the answer was cut"),
        ("reset body", BadAnswer, "the answer was cut after 2 bytes"),
        ("cut gzip", BadAnswer, "the answer can't be decoded: its packed bytes were cut"),
        ("unasked coding", BadAnswer, "it is packed as 'br', which wasn't asked for"),
        ("bad gzip", BadAnswer, "the answer can't be decoded"),
        ("not HTTP", Unreachable, "connection cut before an answer"),
        ("closing", Unreachable, "connection cut before an answer"),
        ("resetting", Unreachable, "connection cut before an answer"),
    ],
)
async def test_what_is_no_sglang_is_named(
    behaviour: str, kind: type[SglangCiError], words: str
) -> None:
    """A stranger or a broken answer is taken for a server, or ends in a traceback."""
    with listening(BEHAVIOURS[behaviour]) as url:
        error = await fault(url)
    assert type(error) is kind, error
    assert words in str(error)


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        ("web page", "HTTP 200 without JSON"),
        ("other API", "completion_tokens is None"),
        ("list", "JSON, but no object"),
        ("deep", "HTTP 200 without JSON"),
        ("truncated", "the answer was cut"),
        ("unavailable", "HTTP 503"),
    ],
)
async def test_a_bad_answer_to_a_generation(behaviour: str, words: str) -> None:
    """A broken answer to the first request counts as a token."""
    with listening(BEHAVIOURS[behaviour]) as url:
        error = await fault(url, TOKEN)
    assert type(error) is BadAnswer
    assert words in str(error)


@pytest.mark.parametrize("meta", [None, [], "x", 1, {}, {"completion_tokens": 2}])
async def test_an_answer_without_its_token_is_bad(meta: object) -> None:
    """An answer of another shape breaks the check instead of failing the server."""
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json={"meta_info": meta}))
    async with ServerClient("http://h", transport=transport) as client:
        with pytest.raises(BadAnswer, match="one token was asked for, completion_tokens is"):
            await client.first_token()


@pytest.mark.parametrize("behaviour", ["silent", "trickle", "slow header"])
@pytest.mark.parametrize("call", [MODEL, TOKEN])
async def test_silence_ends_at_the_deadline(behaviour: str, call: Call) -> None:
    """A server that accepts and says nothing, or never ends, holds a check for ever."""
    with listening(BEHAVIOURS[behaviour]) as url:
        error = await fault(url, call, limit=0.5)
    assert type(error) is Unresponsive
    assert "no complete answer within 0.5 s" in str(error)


@pytest.mark.parametrize("kind", [httpx.ConnectTimeout, httpx.ReadTimeout, httpx.PoolTimeout])
async def test_timeouts_of_the_library_are_silence_too(kind: type[httpx.TimeoutException]) -> None:
    """On a busy machine a slow server counts as one that is gone."""

    def fail(_: httpx.Request) -> httpx.Response:
        raise kind("")

    async with ServerClient("http://h", transport=httpx.MockTransport(fail)) as client:
        with pytest.raises(Unresponsive):
            await client.model_info()


def has_ipv6() -> bool:
    """Return whether this machine has the address ::1."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


IPV6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no ::1")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", pytest.param("[::1]", marks=IPV6)])
async def test_a_closed_port_is_refused(host: str) -> None:
    """A closed port isn't told from a broken connection, for one of a name's addresses."""
    error = await fault(f"http://{host}:{closed_port()}")
    assert isinstance(error, Unreachable)
    assert error.refused
    assert "connection refused" in str(error)


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a..b", "a" * 70 + ".invalid"])
async def test_a_name_without_an_address(host: str) -> None:
    """A misspelt host counts as a bad server."""
    assert type(await fault(f"http://{host}:30000")) is NameUnresolved


@IPV6
async def test_a_server_on_ipv6() -> None:
    """A URL with brackets can't be asked."""
    with listening(BEHAVIOURS["unavailable"], host="::1") as url:
        assert "HTTP 503" in str(await fault(url))


async def test_tls_where_http_was_asked_for(tmp_path: Path) -> None:
    """A TLS port on an http:// URL hangs, or reads as anything."""
    with listening(BEHAVIOURS["web page"], tls=self_signed(tmp_path)) as url:
        assert isinstance(await fault(url), Unreachable | NotSglang)


async def test_a_certificate_that_nobody_vouches_for(tmp_path: Path) -> None:
    """A self-signed certificate is trusted, or its message sends the reader elsewhere."""
    with listening(BEHAVIOURS["web page"], tls=self_signed(tmp_path)) as url:
        error = await fault(url.replace("http:", "https:"))
    assert type(error) is NotSglang
    assert "isn't trusted (self-signed certificate); let SSL_CERT_FILE name" in str(error)


async def test_a_certificate_that_the_environment_vouches_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cure that the message names doesn't work."""
    with listening(BEHAVIOURS["unavailable"], tls=self_signed(tmp_path)) as url:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem"))
        assert "HTTP 503" in str(await fault(url.replace("http:", "https:")))


async def test_http_where_tls_was_asked_for() -> None:
    """An http port on an https:// URL doesn't say what to change."""
    with listening(BEHAVIOURS["blunt"]) as url:
        error = await fault(url.replace("http:", "https:"))
    assert type(error) is NotSglang
    assert "does not speak TLS (WRONG_VERSION_NUMBER); is it http://?" in str(error)


async def test_a_plain_client_reads_no_certificates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each http:// client costs a tenth of a second, which readiness is noticed later."""
    monkeypatch.setattr(ssl, "create_default_context", pytest.fail)
    async with ServerClient("http://h") as client:
        assert client.url == "http://h"


async def test_a_proxy_of_the_environment_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy answers in place of the server on this host."""
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{closed_port()}")
    with FakeSglang() as server:
        async with ServerClient(server.url) as client:
            assert (await client.model_info())["model_path"] == "fake/model"


async def test_a_good_server_is_understood() -> None:
    """A real server fails although its answers are right."""
    with FakeSglang(Settings(version="1.2.3", model="org/name")) as server:
        async with ServerClient(f"{server.url}/") as client:
            assert (await client.server_info())["version"] == "1.2.3"
            assert await client.served_models() == ["org/name"]
            assert await client.status("/ready") == 200
            assert await client.status("/nowhere") == 404
            assert (await client.first_token())["meta_info"]["completion_tokens"] == 1


async def test_an_embedding_model_is_asked_for_an_embedding() -> None:
    """A server that makes embeddings never has its first token."""
    with FakeSglang(Settings(embedding=True)) as server:
        async with ServerClient(server.url) as client:
            assert (await client.first_token(generation=False))["data"]


@pytest.mark.parametrize("data", [None, {}, {"data": None}, {"data": ["x"]}, {"data": [{}]}])
async def test_a_list_of_models_of_another_shape(data: object) -> None:
    """A gateway's list of models breaks the check."""
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json=data))
    async with ServerClient("http://h", transport=transport) as client:
        with pytest.raises(BadAnswer):
            await client.served_models()
