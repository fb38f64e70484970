"""Requests at the same time don't mix.

Batching may change a model's numbers, so nothing is compared that depends on them: the
prompt's echo and a grammar that allows one text only tell whose answer it is.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import pytest

from ci.smoke.answers import CompletionEvent, read
from ci.smoke.ask import ECHO, Ask, fresh
from ci.smoke.server import Server

AT_ONCE = 8

Result = TypeVar("Result")


def at_once(work: Callable[[str], Result], names: list[str]) -> list[Result]:
    """Return what `work` makes of each name, all at the same time."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(work, names))


def names() -> list[str]:
    """Return texts that no two requests share."""
    return [fresh(1 + number % 3) for number in range(AT_ONCE)]


@pytest.mark.needs("logprobs", "native")
def test_each_answer_is_to_its_own_prompt(ask: Ask) -> None:
    """The echo of each prompt is that of the same prompt sent alone."""
    prompts = names()
    alone = [ask.generate(prompt, ECHO, max_new_tokens=4).prompt_ids for prompt in prompts]
    together = at_once(
        lambda prompt: ask.generate(prompt, ECHO, max_new_tokens=4).prompt_ids, prompts
    )
    assert together == alone, "an answer is to another request's prompt"


@pytest.mark.needs("regex", "native")
def test_each_answer_has_its_own_text(ask: Ask) -> None:
    """Each answer is the one text that its own grammar allows."""
    wanted = names()
    got = at_once(lambda name: ask.generate("Say: ", max_new_tokens=24, regex=name).text, wanted)
    assert got == wanted, "an answer has another request's text"


@pytest.mark.needs("regex")
def test_each_stream_has_its_own_text(ask: Ask, server: Server) -> None:
    """Each stream is the one text that its own grammar allows."""
    wanted = names()
    got = at_once(lambda name: streamed(ask, server.constrained("regex", name)), wanted)
    assert got == wanted, "a stream has another request's text"


@pytest.mark.needs("generation")
def test_each_stream_is_whole(ask: Ask) -> None:
    """None of several streams is cut by another."""
    bodies = [ask.openai(prompt=f"Say {name}: ", max_tokens=24) for name in names()]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        streams = list(pool.map(lambda body: ask.stream("/v1/completions", body), bodies))
    for sent in streams:
        events = [read(CompletionEvent, event, "POST /v1/completions, an event") for event in sent]
        reasons = [choice.finish_reason for event in events for choice in event.choices]
        assert reasons, "a stream carries no choice"
        assert reasons[-1], "a stream's last event has no finish_reason: it was cut"


def streamed(ask: Ask, grammar: Mapping[str, Any]) -> str:
    """Return the text of a stream that is held to a grammar."""
    body = ask.openai(prompt="Say: ", max_tokens=24, **grammar)
    sent = ask.stream("/v1/completions", body)
    events = [read(CompletionEvent, event, "POST /v1/completions, an event") for event in sent]
    return "".join(choice.text for event in events for choice in event.choices)
