"""What a server answers to a fixed list of requests, a few good ones and many bad ones.

Every bad request is one that SGLang refuses before it reaches the engine. Two kinds are left
out on purpose: an empty text and token ids out of the vocabulary end the scheduler of SGLang
0.5.23 on a CPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ci.contract.model import ContractPart, Items
from ci.contract.shape import body_shape
from ci.server.exchange import Exchange

LONGEST = 400_000
"""Most tokens of context for which an over-long prompt is sent."""
CHAT, TEXT, NATIVE = "/v1/chat/completions", "/v1/completions", "/generate"
FIXED = {"temperature": 0, "ignore_eos": True}
FEW = {"max_new_tokens": 4, **FIXED}


@dataclass(frozen=True)
class ContractRequest:
    """One request of the list; `good` is one that is to be answered."""

    name: str
    method: str
    path: str
    body: Any = None
    good: bool = False


def requests(model: str, context: int) -> Iterator[ContractRequest]:
    """Yield the whole list.

    Args:
        model: A name under which the model is served.
        context: The model's context in tokens; without prompts that overrun it where 0.
    """
    yield ContractRequest("unknown route", "GET", "/no-such-route-of-sglang-ci")
    yield ContractRequest("wrong method", "DELETE", NATIVE)
    yield ContractRequest("unknown model's page", "GET", "/v1/models/no-such-model")
    yield from _native()
    yield from _chat(model)
    yield from _text(model)
    yield ContractRequest(
        "embeddings of a generating model",
        "POST",
        "/v1/embeddings",
        {"model": model, "input": "Hello"},
    )
    if context:
        yield from _long(model, "a " * (context + 16))


def _native() -> Iterator[ContractRequest]:
    body: Any = {"text": "Hello", "sampling_params": FEW}
    yield ContractRequest("generate", "POST", NATIVE, body, good=True)
    stream = {"text": "Hello", "sampling_params": FEW, "stream": True}
    yield ContractRequest("generate streamed", "POST", NATIVE, stream, good=True)
    yield ContractRequest("generate: bad JSON", "POST", NATIVE, b"{")
    yield ContractRequest("generate: no input", "POST", NATIVE, {})
    yield ContractRequest("generate: text of a wrong type", "POST", NATIVE, {"text": {"a": 1}})
    for name, value in (("temperature", -1), ("top_p", 2), ("max_new_tokens", -1)):
        body = {"text": "Hello", "sampling_params": {name: value}}
        yield ContractRequest(f"generate: {name} {value}", "POST", NATIVE, body)
    body = {"text": "Hello", "sampling_params": {"no_such_parameter": 1}}
    yield ContractRequest("generate: unknown sampling parameter", "POST", NATIVE, body)
    body = {"text": "Hello", "sampling_params": "none"}
    yield ContractRequest("generate: sampling of a wrong type", "POST", NATIVE, body)


def _chat(model: str) -> Iterator[ContractRequest]:
    message = {"role": "user", "content": "Hello"}
    good = {"model": model, "messages": [message], "max_tokens": 4, **FIXED}
    yield ContractRequest("chat", "POST", CHAT, good, good=True)
    yield ContractRequest("chat streamed", "POST", CHAT, {**good, "stream": True}, good=True)
    yield ContractRequest("chat: bad JSON", "POST", CHAT, b"{")
    for name, wrong in (
        ("no messages", {"messages": []}),
        ("messages of a wrong type", {"messages": "Hello"}),
        ("unknown model", {"model": "no-such-model"}),
        ("temperature -1", {"temperature": -1}),
        ("temperature of a wrong type", {"temperature": "warm"}),
        ("top_p 2", {"top_p": 2}),
        ("a tool required of none", {"tool_choice": "required"}),
    ):
        yield ContractRequest(f"chat: {name}", "POST", CHAT, {**good, **wrong})
    yield ContractRequest("chat: nothing", "POST", CHAT, {})


def _text(model: str) -> Iterator[ContractRequest]:
    good = {"model": model, "prompt": "Hello", "max_tokens": 4, **FIXED}
    yield ContractRequest("completion", "POST", TEXT, good, good=True)
    yield ContractRequest("completion: nothing", "POST", TEXT, {})
    yield ContractRequest("completion: temperature -1", "POST", TEXT, {**good, "temperature": -1})


def _long(model: str, text: str) -> Iterator[ContractRequest]:
    body: dict[str, Any] = {"text": text, "sampling_params": FEW}
    yield ContractRequest("generate: over-long prompt", "POST", NATIVE, body)
    stream = {**body, "stream": True}
    yield ContractRequest("generate streamed: over-long prompt", "POST", NATIVE, stream)
    body = {"model": model, "messages": [{"role": "user", "content": text}], "max_tokens": 4}
    yield ContractRequest("chat: over-long prompt", "POST", CHAT, body)
    yield ContractRequest("chat streamed: over-long prompt", "POST", CHAT, {**body, "stream": True})
    body = {"model": model, "prompt": text, "max_tokens": 4}
    yield ContractRequest("completion: over-long prompt", "POST", TEXT, body)


async def answers_part(exchange: Exchange, model: str, context: int) -> ContractPart:
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
        return ContractPart(items=items)
    why = f"the context of {context} tokens is too long to overrun" if context else "no context"
    return ContractPart(items=items, left_out={"*over-long prompt*": why})
