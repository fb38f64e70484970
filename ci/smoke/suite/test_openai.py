"""The OpenAI endpoints, without streaming."""

import pytest

from ci.smoke.answers import Usage
from ci.smoke.ask import Ask
from ci.smoke.server import Server

PROMPT = "The capital of France is"
TURNS = [
    {"role": "user", "content": "Name a colour."},
    {"role": "assistant", "content": "Blue."},
    {"role": "user", "content": "Name another one."},
]


def adds_up(usage: Usage, completion: int) -> None:
    """Assert that usage counts `completion` tokens, and sums them rightly."""
    total = usage.prompt_tokens + usage.completion_tokens
    assert usage.prompt_tokens > 0, "usage counts no prompt token"
    assert usage.completion_tokens == completion, (
        f"{completion} tokens were asked for, usage counts {usage.completion_tokens}"
    )
    assert usage.total_tokens == total, f"usage: total is {usage.total_tokens}, not {total}"


@pytest.mark.needs("generation")
def test_completion_has_its_shape(ask: Ask, server: Server, model: str) -> None:
    """One prompt gives one finished choice of the model that was asked for."""
    answer = ask.complete(PROMPT)
    assert answer.object == "text_completion", f"object is {answer.object!r}"
    assert answer.model == model, f"model is {answer.model!r}"
    assert [choice.index for choice in answer.choices] == [0], "not one choice"
    assert answer.choices[0].finish_reason in {"stop", "length"}, "the choice did not finish"
    if not server.can("exact_usage"):
        adds_up(answer.usage, answer.usage.completion_tokens)


@pytest.mark.needs("generation", "exact_usage")
def test_completion_usage_adds_up(ask: Ask) -> None:
    """Usage counts the tokens that were asked for."""
    adds_up(ask.complete(PROMPT, max_tokens=6, ignore_eos=True).usage, 6)


@pytest.mark.needs("generation", "prompts", "exact_usage")
def test_completion_of_several_prompts(ask: Ask) -> None:
    """Two prompts give two choices, and the usage of both."""
    answer = ask.complete([PROMPT, "One two three"], max_tokens=4, ignore_eos=True)
    assert [choice.index for choice in answer.choices] == [0, 1], "not one choice a prompt"
    adds_up(answer.usage, 8)


@pytest.mark.needs("chat")
def test_chat_has_its_shape(ask: Ask, server: Server, model: str) -> None:
    """A message gives one finished answer of the assistant."""
    answer = ask.chat("Say hello.")
    assert answer.object == "chat.completion", f"object is {answer.object!r}"
    assert answer.model == model, f"model is {answer.model!r}"
    assert [choice.index for choice in answer.choices] == [0], "not one choice"
    choice = answer.choices[0]
    assert choice.message.role == "assistant", f"role is {choice.message.role!r}"
    assert choice.finish_reason in {"stop", "length"}, "the choice did not finish"
    if not server.can("exact_usage"):
        adds_up(answer.usage, answer.usage.completion_tokens)


@pytest.mark.needs("chat", "exact_usage")
def test_chat_usage_adds_up(ask: Ask) -> None:
    """Usage counts the tokens that were asked for."""
    adds_up(ask.chat("Say hello.", max_tokens=6, ignore_eos=True).usage, 6)


@pytest.mark.needs("chat")
def test_chat_takes_the_whole_conversation(ask: Ask) -> None:
    """Earlier turns are part of the prompt."""
    last, whole = ask.chat(TURNS[-1:]), ask.chat(TURNS)
    assert whole.usage.prompt_tokens > last.usage.prompt_tokens, "earlier turns were dropped"


@pytest.mark.needs("native")
def test_served_model_is_listed(server: Server) -> None:
    """The model that `/v1/models` lists has the name that the server was started with."""
    served = server.server_info.get("served_model_name")
    assert server.model == served, f"/v1/models lists {server.model!r}, served is {served!r}"
