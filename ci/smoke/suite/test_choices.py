"""Several choices for one prompt."""

from collections import Counter

import pytest

from ci.smoke.answers import CompletionEvent, Generations, read
from ci.smoke.ask import Ask, native

PROMPT = "A word:"
TWO = {"n": 2, "max_tokens": 4, "ignore_eos": True, "temperature": 1}


@pytest.mark.needs("generation", "native")
def test_generate_gives_n_answers(ask: Ask) -> None:
    """`n` answers come, each with its own tokens."""
    body = native(PROMPT, n=2, max_new_tokens=4, ignore_eos=True, temperature=1)
    answers = read(Generations, ask.post("/generate", body), "POST /generate").root
    lengths = [len(answer.output_ids) for answer in answers]
    assert lengths == [4, 4], f"2 answers of 4 tokens were asked for, their lengths: {lengths}"


@pytest.mark.needs("generation", "choices", "exact_usage")
def test_completion_gives_n_choices(ask: Ask) -> None:
    """`n` choices come, and usage counts the tokens of all."""
    answer = ask.complete(PROMPT, **TWO)
    assert [choice.index for choice in answer.choices] == [0, 1], "not two choices"
    counted = answer.usage.completion_tokens
    assert counted == 8, f"2 choices of 4 tokens, usage counts {counted}"


@pytest.mark.needs("chat", "choices", "exact_usage")
def test_chat_gives_n_choices(ask: Ask) -> None:
    """`n` choices come, and usage counts the tokens of all."""
    answer = ask.chat("Say a word.", **TWO)
    assert [choice.index for choice in answer.choices] == [0, 1], "not two choices"
    counted = answer.usage.completion_tokens
    assert counted == 8, f"2 choices of 4 tokens, usage counts {counted}"


@pytest.mark.needs("generation", "choices")
def test_stream_ends_each_choice(ask: Ask) -> None:
    """In a stream of several choices each of them ends once."""
    sent = ask.stream("/v1/completions", ask.openai(prompt=PROMPT, **TWO))
    events = [read(CompletionEvent, event, "POST /v1/completions, an event") for event in sent]
    choices = [choice for event in events for choice in event.choices]
    ends = Counter(choice.index for choice in choices if choice.finish_reason)
    assert ends == {0: 1, 1: 1}, f"how often each choice ended: {dict(ends)}"
