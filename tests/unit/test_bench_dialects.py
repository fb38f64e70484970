"""What each API is asked, and what only one of them answers."""

from __future__ import annotations

import json

import pytest

from ci.bench.dialects import Generate, Sampling
from ci.bench.prompts import Prompt
from ci.errors import UsageError
from tests.fakes import timed_events
from tests.unit.test_bench_answer import APIS, answer

pytestmark = pytest.mark.unit


def test_a_chat_that_tells_counts_at_the_end_has_its_chunks_for_tokens() -> None:
    """A server without counts along the way has no ITL, or wrong token counts."""
    told = timed_events.uncounted(timed_events.chat(4, 9))
    found = answer("chat", *told, timed_events.DONE)
    assert (found.counts, found.output_tokens, found.prompt_tokens) == ([1, 2, 3, 4], 4, 9)


def test_chunks_of_an_unknown_number_of_tokens_have_no_counts() -> None:
    """Chunks are counted as tokens although there were more of those."""
    told = list(timed_events.uncounted(timed_events.chat(4, 9)))
    del told[1]
    found = answer("chat", *told, timed_events.DONE)
    assert (found.counts, found.output_tokens) == ([], 4)
    assert len(found.times) == 3


def test_tokens_without_text_come_with_the_next_chunk() -> None:
    """A chat stream leaves chunks without text out, and their tokens are lost."""
    told = list(timed_events.chat(4, 9))
    del told[1]
    found = answer("chat", *told, timed_events.DONE)
    assert (found.counts, found.times) == ([1, 3, 4], [0.0, 1.0, 2.0])


def test_requests_ask_for_what_was_wanted() -> None:
    """The server is asked for another length, or for an answer that isn't a stream."""
    told = json.loads(APIS["generate"].body(Prompt(7, input_ids=(1, 2))))
    parameters = {"max_new_tokens": 7, "temperature": 0.0, "ignore_eos": True}
    assert told == {"input_ids": [1, 2], "sampling_params": parameters, "stream": True}
    free = Generate(Sampling(0.5, ignore_eos=False, more={"top_p": 0.9}))
    told = json.loads(free.body(Prompt(7, text="hi")))
    assert told["text"] == "hi"
    assert told["sampling_params"]["ignore_eos"] is False
    assert told["sampling_params"]["top_p"] == 0.9


def test_chats_ask_for_counts_with_every_chunk() -> None:
    """A chat stream has no token counts."""
    told = json.loads(APIS["chat"].body(Prompt(7, text="hi")))
    assert told["messages"] == [{"role": "user", "content": "hi"}]
    assert (told["model"], told["max_tokens"], told["ignore_eos"]) == ("tiny", 7, True)
    assert told["stream_options"] == {"include_usage": True, "continuous_usage_stats": True}


def test_each_api_refuses_the_other_s_prompts() -> None:
    """A prompt that an API can't take is sent as an empty one, which kills SGLang 0.5.23."""
    with pytest.raises(UsageError, match="chat API"):
        APIS["generate"].body(Prompt(1, messages=({"role": "user", "content": "hi"},)))
    with pytest.raises(UsageError, match="generate API"):
        APIS["chat"].body(Prompt(1, input_ids=(1,)))
