"""What a server answers to a fixed list of requests, a few good ones and many bad ones.

Every bad request is one that SGLang refuses before it reaches the engine. Two kinds are left
out on purpose: an empty text and token ids out of the vocabulary end the scheduler of SGLang
0.5.23 on a CPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ci.contract.model import Items, Part
from ci.contract.shape import body_shape
from ci.server.exchange import Exchange

LONGEST = 400_000
"""Most tokens of context for which an over-long prompt is sent."""
CHAT, TEXT, NATIVE = "/v1/chat/completions", "/v1/completions", "/generate"
FIXED = {"temperature": 0, "ignore_eos": True}
FEW = {"max_new_tokens": 4, **FIXED}


@dataclass(frozen=True)
class Request:
    """One request of the list; `good` is one that is to be answered."""

    name: str
    method: str
    path: str
    body: Any = None
    good: bool = False


def requests(model: str, context: int) -> Iterator[Request]:
    """Yield the whole list.

    Args:
        model: A name under which the model is served.
        context: The model's context in tokens; without prompts that overrun it where 0.
    """
    yield Request("unknown route", "GET", "/no-such-route-of-sglang-ci")
    yield Request("wrong method", "DELETE", NATIVE)
    yield Request("unknown model's page", "GET", "/v1/models/no-such-model")
    yield from _native()
    yield from _chat(model)
    yield from _text(model)
    yield Request(
        "embeddings of a generating model",
        "POST",
        "/v1/embeddings",
        {"model": model, "input": "Hello"},
    )
    if context:
        yield from _long(model, "a " * (context + 16))


def _native() -> Iterator[Request]:
    body: Any = {"text": "Hello", "sampling_params": FEW}
    yield Request("generate", "POST", NATIVE, body, good=True)
    stream = {"text": "Hello", "sampling_params": FEW, "stream": True}
    yield Request("generate streamed", "POST", NATIVE, stream, good=True)
    yield Request("generate: bad JSON", "POST", NATIVE, b"{")
    yield Request("generate: no input", "POST", NATIVE, {})
    yield Request("generate: text of a wrong type", "POST", NATIVE, {"text": {"a": 1}})
    for name, value in (("temperature", -1), ("top_p", 2), ("max_new_tokens", -1)):
        body = {"text": "Hello", "sampling_params": {name: value}}
        yield Request(f"generate: {name} {value}", "POST", NATIVE, body)
    body = {"text": "Hello", "sampling_params": {"no_such_parameter": 1}}
    yield Request("generate: unknown sampling parameter", "POST", NATIVE, body)
    body = {"text": "Hello", "sampling_params": "none"}
    yield Request("generate: sampling of a wrong type", "POST", NATIVE, body)


def _chat(model: str) -> Iterator[Request]:
    message = {"role": "user", "content": "Hello"}
    good = {"model": model, "messages": [message], "max_tokens": 4, **FIXED}
    yield Request("chat", "POST", CHAT, good, good=True)
    yield Request("chat streamed", "POST", CHAT, {**good, "stream": True}, good=True)
    yield Request("chat: bad JSON", "POST", CHAT, b"{")
    for name, wrong in (
        ("no messages", {"messages": []}),
        ("messages of a wrong type", {"messages": "Hello"}),
        ("unknown model", {"model": "no-such-model"}),
        ("temperature -1", {"temperature": -1}),
        ("temperature of a wrong type", {"temperature": "warm"}),
        ("top_p 2", {"top_p": 2}),
        ("a tool required of none", {"tool_choice": "required"}),
    ):
        yield Request(f"chat: {name}", "POST", CHAT, {**good, **wrong})
    yield Request("chat: nothing", "POST", CHAT, {})


def _text(model: str) -> Iterator[Request]:
    good = {"model": model, "prompt": "Hello", "max_tokens": 4, **FIXED}
    yield Request("completion", "POST", TEXT, good, good=True)
    yield Request("completion: nothing", "POST", TEXT, {})
    yield Request("completion: temperature -1", "POST", TEXT, {**good, "temperature": -1})


def _long(model: str, text: str) -> Iterator[Request]:
    body: dict[str, Any] = {"text": text, "sampling_params": FEW}
    yield Request("generate: over-long prompt", "POST", NATIVE, body)
    stream = {**body, "stream": True}
    yield Request("generate streamed: over-long prompt", "POST", NATIVE, stream)
    body = {"model": model, "messages": [{"role": "user", "content": text}], "max_tokens": 4}
    yield Request("chat: over-long prompt", "POST", CHAT, body)
    yield Request("chat streamed: over-long prompt", "POST", CHAT, {**body, "stream": True})
    body = {"model": model, "prompt": text, "max_tokens": 4}
    yield Request("completion: over-long prompt", "POST", TEXT, body)


async def answers_part(exchange: Exchange, model: str, context: int) -> Part:
    """Send the whole list, and return what came back.

    Raises:
        AnswerFault: A request got no answer at all.
        KeyRefused: The server wants another API key for a good one.
    """
    items: Items = {}
    for request in requests(model, context if context <= LONGEST else 0):
        answer = await exchange.ask(request.method, request.path, request.body)
        if request.good:
            exchange.permitted(request.path, answer)
        items[request.name] = {"status": answer.status, "media type": answer.kind}
        items |= body_shape(f"{request.name} body", answer.body, answer.kind)
    if 0 < context <= LONGEST:
        return Part(items=items)
    why = f"the context of {context} tokens is too long to overrun" if context else "no context"
    return Part(items=items, left_out={"*over-long prompt*": why})
