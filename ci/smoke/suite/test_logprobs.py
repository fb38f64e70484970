"""Log-probabilities: as many as tokens, of these tokens, and such as probabilities allow."""

import math
from collections.abc import Iterable

import pytest

from ci.smoke.ask import ECHO, Ask

PROMPT = "The sun is"
ROUNDING = 0.01
"""How far rounding may lift a log-probability, or a sum of probabilities."""

TOP = {"return_logprob": True, "top_logprobs_num": 3}


def possible(logprobs: Iterable[float | None]) -> None:
    """Assert that each can be the logarithm of a probability."""
    wrong = [one for one in logprobs if one is None or not -math.inf < one <= ROUNDING]
    assert not wrong, f"no log-probability: {wrong[0]}"


def ranked(top: list[float], chosen: float) -> None:
    """Assert that the best are in order, at most 1 together, and none is above greedy's choice."""
    possible(top)
    assert top == sorted(top, reverse=True), f"top log-probabilities are not in order: {top}"
    assert sum(map(math.exp, top)) <= 1 + ROUNDING, f"top probabilities are over 1: {top}"
    assert top[0] <= chosen + ROUNDING, f"greedy chose {chosen}, the best is {top[0]}"


@pytest.mark.needs("logprobs")
def test_each_output_token_has_one(ask: Ask) -> None:
    """Every token of the answer comes with its own log-probability."""
    answer = ask.generate(PROMPT, {"return_logprob": True})
    pairs = answer.meta_info.output_token_logprobs
    assert tuple(token for _, token, _ in pairs) == answer.output_ids, "of other tokens"
    possible(logprob for logprob, _, _ in pairs)


@pytest.mark.needs("logprobs")
def test_each_prompt_token_has_one(ask: Ask) -> None:
    """Every token of the prompt but the first comes with its log-probability."""
    meta = ask.generate(PROMPT, ECHO, max_new_tokens=1).meta_info
    pairs = meta.input_token_logprobs
    assert len(pairs) == meta.prompt_tokens, "not one for each token of the prompt"
    possible(logprob for logprob, _, _ in pairs[1:])


@pytest.mark.needs("logprobs")
def test_top_are_ranked(ask: Ask) -> None:
    """The most probable tokens come in order, and greedy decoding chose the first."""
    meta = ask.generate(PROMPT, TOP).meta_info
    tops = [[one or 0.0 for one, _, _ in top or ()] for top in meta.output_top_logprobs]
    assert [len(top) for top in tops] == [3] * meta.completion_tokens, "not 3 for each token"
    for top, (chosen, _, _) in zip(tops, meta.output_token_logprobs, strict=True):
        ranked(top, chosen or 0.0)


@pytest.mark.needs("logprobs")
def test_completion(ask: Ask) -> None:
    """`/v1/completions` gives one for each token, and the best of each place."""
    answer = ask.complete(PROMPT, logprobs=2, max_tokens=5, ignore_eos=True)
    found = answer.choices[0].logprobs
    assert found, "logprobs were asked for and are missing"
    assert len(found.token_logprobs) == len(found.tokens) == 5, "not one for each of 5 tokens"
    assert len(found.top_logprobs) == 5, "not the best of each of 5 places"
    possible(found.token_logprobs)


@pytest.mark.needs("logprobs", "chat")
def test_chat(ask: Ask) -> None:
    """`/v1/chat/completions` gives one for each token, with the best of each place in order."""
    answer = ask.chat(PROMPT, logprobs=True, top_logprobs=2, max_tokens=5, ignore_eos=True)
    found = answer.choices[0].logprobs
    assert found, "logprobs were asked for and are missing"
    assert len(found.content) == 5, f"{len(found.content)} for 5 tokens"
    for token in found.content:
        ranked([one.logprob for one in token.top_logprobs], token.logprob)
