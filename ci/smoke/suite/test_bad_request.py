"""Bad requests are refused with 4xx, and the server serves on."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from ci.smoke.ask import Ask, conversation, native
from ci.smoke.record import Incapable, first_line
from ci.smoke.refusal import refused
from ci.smoke.server import Server
from ci.smoke.sse import first_event

NATIVE: dict[str, Any] = {
    "no prompt": {},
    "prompt of the wrong type": {"text": 5},
    "sampling parameters of the wrong type": native("a") | {"sampling_params": 5},
    "unknown sampling parameter": native("a", nonsense=4),
    "negative max_new_tokens": native("a", max_new_tokens=-1),
    "negative temperature": native("a", temperature=-1),
    "top_p over 1": native("a", top_p=7),
}
GRAMMARS: dict[str, Any] = {
    "regex": native("a", regex="("),
    "json_schema": native("a", json_schema="{"),
    "ebnf": native("a", ebnf='root ::= ("a"'),
}
COMPLETIONS: dict[str, Any] = {
    "no prompt": {"prompt": None},
    "prompt of the wrong type": {"prompt": 5},
    "negative max_tokens": {"max_tokens": -1},
    "max_tokens of the wrong type": {"max_tokens": "many"},
    "negative temperature": {"temperature": -1},
}
LONGEST = 1_000_000
"""Longest context that is overrun here, in tokens."""

CHATS: dict[str, Any] = {
    "no messages": {"messages": []},
    "messages of the wrong type": {"messages": "hello"},
    "unknown role": {"messages": [{"role": "nobody", "content": "hello"}]},
    "message without a role": {"messages": [{"content": "hello"}]},
    "unknown response_format": {"response_format": {"type": "nonsense"}},
    "negative max_tokens": {"max_tokens": -1},
}


@pytest.fixture(autouse=True)
def _serves_on(ask: Ask, server: Server) -> Iterator[None]:
    """Have the server answer a good request after each bad one."""
    yield
    ask.answers_still(server)


@pytest.mark.needs("generation", "strict")
@pytest.mark.parametrize(
    "path",
    [
        pytest.param("/generate", marks=pytest.mark.needs("native")),
        "/v1/completions",
        "/v1/chat/completions",
    ],
)
def test_malformed_json(client: httpx.Client, server: Server, path: str) -> None:
    """A body that isn't JSON."""
    headers = {"content-type": "application/json"}
    refused(client.post(path, content=b'{"text": "a"', headers=headers), server)


@pytest.mark.needs("generation", "native")
@pytest.mark.parametrize("fault", NATIVE)
def test_generate(client: httpx.Client, server: Server, fault: str) -> None:
    """A request to `/generate` with a wrong key or value."""
    refused(client.post("/generate", json=NATIVE[fault]), server)


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=pytest.mark.needs(kind, "native")) for kind in GRAMMARS]
)
def test_broken_grammar(client: httpx.Client, server: Server, kind: str) -> None:
    """A grammar that can't be compiled."""
    refused(client.post("/generate", json=GRAMMARS[kind]), server)


@pytest.mark.needs("generation", "strict")
@pytest.mark.parametrize("fault", COMPLETIONS)
def test_completion(ask: Ask, server: Server, fault: str) -> None:
    """A request to `/v1/completions` with a wrong value."""
    body = ask.openai(**{"prompt": "a", **COMPLETIONS[fault]})
    refused(ask.client.post("/v1/completions", json=body), server)


@pytest.mark.needs("chat", "strict")
@pytest.mark.parametrize("fault", CHATS)
def test_chat(ask: Ask, server: Server, fault: str) -> None:
    """A request to `/v1/chat/completions` with a wrong value."""
    body = ask.openai(**{"messages": conversation("a"), **CHATS[fault]})
    refused(ask.client.post("/v1/chat/completions", json=body), server)


@pytest.mark.needs("generation", "native")
def test_too_long_a_prompt(client: httpx.Client, server: Server) -> None:
    """A prompt of more tokens than the model's context."""
    refused(client.post("/generate", json=native(too_long(server))), server)


@pytest.mark.needs("generation", "native")
def test_too_long_a_prompt_to_stream(client: httpx.Client, server: Server) -> None:
    """The same with a stream: refused at once, or by an error as its only event."""
    response = client.post("/generate", json=native(too_long(server), {"stream": True}))
    if response.status_code != httpx.codes.OK:
        return refused(response, server)
    first = first_event([response.content], "POST /generate")
    assert b'"error"' in first, f"the stream begins with {first_line(repr(first))}"
    return None


def too_long(server: Server) -> list[int]:
    """Return a prompt that is one token longer than the model's context."""
    if not server.context_length:
        raise Incapable("the server does not tell its context length")
    if server.context_length > LONGEST:
        raise Incapable(f"a prompt beyond {server.context_length} tokens takes too long to send")
    if server.server_info.get("allow_auto_truncate"):
        raise Incapable("the server was started with --allow-auto-truncate")
    return [1] * (server.context_length + 1)


@pytest.mark.needs("generation")
def test_unknown_path(client: httpx.Client, server: Server) -> None:
    """A path that isn't there."""
    refused(client.get("/no/such/path"), server)
