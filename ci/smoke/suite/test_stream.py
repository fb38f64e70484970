"""Streams: well formed, whole, and the same as the answer in one piece."""

from typing import Any

import pytest

from ci.smoke.answers import ChatEvent, CompletionEvent, Generation, Usage, read
from ci.smoke.arrival import held_back
from ci.smoke.ask import Ask, conversation, native
from ci.smoke.record import Incapable
from ci.smoke.server import Server

PROMPT = "Once upon a time"
ASCII = "[a-z ]{16}"
"""Keeps a model from halves of characters, whose text depends on where a stream is cut."""
ASCII_EBNF = f"root ::= {ASCII}"

USAGE = {"stream_options": {"include_usage": True}}


@pytest.fixture(scope="module")
def plain(server: Server) -> dict[str, Any]:
    """Limits of an answer that is readable text, where the server can be held to that."""
    for kind, grammar in (("regex", ASCII), ("ebnf", ASCII_EBNF)):
        if server.can(kind):
            return server.constrained(kind, grammar)
    return {}


def ended_once(reasons: list[str | None]) -> None:
    """Assert that the last event, and no other, says why the generation ended."""
    assert reasons, "the stream carries no choice"
    assert reasons[-1], "the stream's last event has no finish_reason: it was cut"
    assert not any(reasons[:-1]), "events follow one with a finish_reason"


def same_usage(streamed: Usage | None, whole: Usage) -> None:
    """Assert that a stream's usage is that of the answer in one piece, and adds up."""
    assert streamed, "stream_options.include_usage brought no usage"
    total = streamed.prompt_tokens + streamed.completion_tokens
    assert streamed.total_tokens == total, f"usage: total is {streamed.total_tokens}, not {total}"
    assert streamed == whole, f"usage of the stream is {streamed}, without streaming {whole}"


@pytest.mark.needs("generation", "native")
def test_generate_stream_equals_the_whole(ask: Ask, server: Server, plain: dict[str, Any]) -> None:
    """The events of `/generate` lead to the tokens of the answer in one piece."""
    sampling = {"max_new_tokens": 12, **plain}
    ask.generate(PROMPT, **sampling)
    whole = ask.generate(PROMPT, **sampling)
    sent = ask.stream("/generate", native(PROMPT, **sampling))
    events = [read(Generation, event, "POST /generate, an event") for event in sent]
    ended_once([event.ending for event in events])
    counts = [event.meta_info.completion_tokens for event in events]
    assert counts == sorted(counts), f"completion_tokens falls from event to event: {counts}"
    ids = (
        sum((event.output_ids for event in events), ()) if deltas(server) else events[-1].output_ids
    )
    assert counts[-1] == len(ids), f"{len(ids)} tokens came, completion_tokens is {counts[-1]}"
    assert ids == whole.output_ids, "the stream's tokens are not those without streaming"


def deltas(server: Server) -> bool:
    """Return whether the events of `/generate` hold new tokens only, and not all so far."""
    flags = ("incremental_streaming_output", "stream_output")
    return any(server.server_info.get(flag) for flag in flags)


@pytest.mark.needs("generation")
def test_completion_stream_equals_the_whole(
    ask: Ask, server: Server, plain: dict[str, Any]
) -> None:
    """The events of `/v1/completions` lead to the text and usage of the answer in one piece."""
    body = {"max_tokens": 12, **plain}
    ask.complete(PROMPT, **body)
    whole = ask.complete(PROMPT, **body)
    sent = ask.stream("/v1/completions", ask.openai(prompt=PROMPT, **body, **USAGE))
    events = [read(CompletionEvent, event, "POST /v1/completions, an event") for event in sent]
    choices = [choice for event in events for choice in event.choices]
    ended_once([choice.finish_reason for choice in choices])
    text = "".join(choice.text for choice in choices)
    assert text == whole.choices[0].text, "the stream's text is not that without streaming"
    if server.can("stream_usage"):
        same_usage(events[-1].usage, whole.usage)


@pytest.mark.needs("chat")
def test_chat_stream_equals_the_whole(ask: Ask, server: Server, plain: dict[str, Any]) -> None:
    """The events of `/v1/chat/completions` lead to the text and usage of the whole answer."""
    body = {"max_tokens": 12, **plain}
    ask.chat(PROMPT, **body)
    whole = ask.chat(PROMPT, **body)
    asked = ask.openai(messages=conversation(PROMPT), **body, **USAGE)
    sent = ask.stream("/v1/chat/completions", asked)
    events = [read(ChatEvent, event, "POST /v1/chat/completions, an event") for event in sent]
    choices = [choice for event in events for choice in event.choices]
    ended_once([choice.finish_reason for choice in choices])
    assert choices[0].delta.role == "assistant", "the first event does not name the role"
    text = "".join(choice.delta.said for choice in choices)
    assert text == whole.choices[0].message.said, "the stream's text is not that without streaming"
    if server.can("stream_usage"):
        same_usage(events[-1].usage, whole.usage)


def asked(ask: Ask, path: str, tokens: int) -> dict[str, Any]:
    """Return the request for a stream of so many tokens."""
    if path == "/generate":
        return native(PROMPT, max_new_tokens=tokens, ignore_eos=True)
    prompt = {"messages": conversation(PROMPT)} if "chat" in path else {"prompt": PROMPT}
    return ask.openai(max_tokens=tokens, ignore_eos=True, **prompt)


@pytest.mark.needs("generation")
@pytest.mark.parametrize(
    "path",
    [
        pytest.param("/generate", marks=pytest.mark.needs("native")),
        "/v1/completions",
        pytest.param("/v1/chat/completions", marks=pytest.mark.needs("chat")),
    ],
)
def test_comes_while_it_is_made(ask: Ask, path: str) -> None:
    """Tokens come one after the other, and not all at the end."""
    problem = held_back(lambda tokens: ask.arrival(path, asked(ask, path, tokens)))
    if problem is None:
        raise Incapable("it can't be told: the server is too fast, or this machine too busy")
    assert not problem, f"POST {path}: {problem}"
