"""Stop strings and stop tokens."""

import pytest

from ci.smoke.answers import CompletionEvent, read
from ci.smoke.ask import Ask
from ci.smoke.server import Server

PROMPT = "Count: "
SHAPE = "[ab]{3}STOP[ab]{3}"
"""Makes any model write the stop string."""


@pytest.mark.needs("regex", "native")
def test_stop_string_ends_the_text(ask: Ask) -> None:
    """The text ends before the stop string, and the answer names it."""
    answer = ask.generate(PROMPT, max_new_tokens=24, regex=SHAPE, stop=["never", "STOP"])
    reason = answer.meta_info.finish_reason
    assert answer.ending == "stop", f"it ended by {answer.ending!r} in: {answer.text!r}"
    assert len(answer.text) == 3, f"not cut before the stop string: {answer.text!r}"
    assert reason, "the answer has no finish_reason"
    assert reason.matched == "STOP", f"the stop string named is {reason.matched!r}"


@pytest.mark.needs("regex", "native")
def test_stop_string_can_be_kept(ask: Ask) -> None:
    """With `no_stop_trim` the text ends with the stop string."""
    answer = ask.generate(PROMPT, max_new_tokens=24, regex=SHAPE, stop="STOP", no_stop_trim=True)
    text = answer.text
    assert text.endswith("STOP"), f"it does not end with the stop string: {text!r}"


@pytest.mark.needs("regex")
def test_stop_string_ends_a_stream(ask: Ask, server: Server) -> None:
    """No event of a stream carries a part of the stop string."""
    body = ask.openai(prompt=PROMPT, max_tokens=24, stop="STOP") | server.constrained(
        "regex", SHAPE
    )
    sent = ask.stream("/v1/completions", body)
    events = [read(CompletionEvent, event, "POST /v1/completions, an event") for event in sent]
    choices = [choice for event in events for choice in event.choices]
    text = "".join(choice.text for choice in choices)
    assert len(text) == 3, f"not cut before the stop string: {text!r}"
    assert choices[-1].finish_reason == "stop", f"it ended by {choices[-1].finish_reason!r}"


@pytest.mark.needs("generation", "native")
def test_stop_token_ends_the_answer(ask: Ask) -> None:
    """The answer ends with the first of the tokens that are to stop it."""
    ask.generate(PROMPT, ignore_eos=True)
    free = ask.generate(PROMPT, ignore_eos=True).output_ids
    last = free.index(free[-1])
    answer = ask.generate(PROMPT, stop_token_ids=[free[-1]])
    assert len(answer.output_ids) <= last + 1, "it went on after the stop token"
    assert answer.ending == "stop", f"it ended by {answer.ending!r}"
