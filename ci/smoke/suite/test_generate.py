"""The native endpoint, `/generate`."""

import pytest

from ci.smoke.ask import ECHO, Ask, fresh

pytestmark = pytest.mark.needs("generation", "native")

PROMPT = "The capital of France is"


def test_greedy_is_repeatable(ask: Ask) -> None:
    """The same prompt gives the same tokens; the first call only fills the prefix cache."""
    ask.generate(PROMPT)
    first, second = ask.generate(PROMPT), ask.generate(PROMPT)
    assert first.output_ids == second.output_ids, "two greedy answers to one prompt differ"


def test_max_new_tokens_is_respected(ask: Ask) -> None:
    """As many tokens come as were asked for, and the answer says that this ended it."""
    answer = ask.generate(PROMPT, max_new_tokens=5, ignore_eos=True)
    count = len(answer.output_ids)
    assert count == 5, f"5 tokens were asked for, {count} came"
    assert answer.ending == "length", f"finish_reason is {answer.ending!r}, not 'length'"


def test_token_counts_add_up(ask: Ask) -> None:
    """The counts in an answer are those of its own tokens and of the prompt's."""
    answer = ask.generate(PROMPT, ECHO, max_new_tokens=6)
    meta, count = answer.meta_info, len(answer.output_ids)
    assert meta.completion_tokens == count, f"{count} tokens, completion_tokens says otherwise"
    assert meta.prompt_tokens == len(answer.prompt_ids), "prompt_tokens is not the prompt's length"
    assert 0 <= meta.cached_tokens < meta.prompt_tokens, "more cached than prompt tokens"


def test_text_is_what_its_tokens_say(ask: Ask) -> None:
    """A prompt given as token ids is the same prompt."""
    ids = ask.generate(PROMPT, ECHO).prompt_ids
    by_text, by_ids = ask.generate(PROMPT), ask.generate(ids)
    assert by_ids.meta_info.prompt_tokens == len(ids), "not all input_ids were taken"
    assert by_ids.output_ids == by_text.output_ids, "input_ids gave another answer than its text"


def test_batch_keeps_its_order(ask: Ask) -> None:
    """Each prompt of a batch gets its own answer, in order."""
    prompts = [fresh(words) for words in (3, 9, 6, 1)]
    alone = [ask.generate(prompt, ECHO).prompt_ids for prompt in prompts]
    together = [answer.prompt_ids for answer in ask.batch(prompts, ECHO)]
    assert together == alone, "a batch's answers are not those to its prompts"


def test_sampling_works(ask: Ask) -> None:
    """Sampling with temperature, top-p and top-k gives as many tokens as asked for."""
    answer = ask.generate(
        PROMPT, temperature=0.8, top_p=0.9, top_k=20, min_p=0.01, max_new_tokens=6, ignore_eos=True
    )
    count = len(answer.output_ids)
    assert count == 6, f"6 tokens were asked for, {count} came"


def test_request_id_is_kept(ask: Ask) -> None:
    """The id that a request names comes back with its answer."""
    name = fresh(1)
    assert ask.generate(PROMPT, {"rid": name}).meta_info.id == name, "the answer has another id"
