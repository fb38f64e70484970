"""The prefix cache: a conversation's next turn finds the turns before."""

import pytest

from ci.smoke.ask import ECHO, Ask, fresh
from ci.smoke.server import Server


@pytest.mark.needs("prefix_cache", "native")
def test_each_turn_finds_the_turns_before(ask: Ask, server: Server) -> None:
    """Of each turn's prompt all is cached that was prompt before, up to a page."""
    step = server.page_size + 32
    turn = ask.generate(fresh(step), ECHO)
    said = [*turn.prompt_ids, *turn.output_ids]
    for number in (2, 3):
        added = ask.generate(fresh(step), ECHO).prompt_ids
        known = len(said) - len(turn.output_ids) - server.page_size
        turn = ask.generate([*said, *added])
        cached = turn.meta_info.cached_tokens
        assert cached >= known, f"turn {number}: {cached} tokens cached, {known} were known"
        assert cached <= len(said), f"turn {number}: {cached} cached of {len(said)} that were sent"
        said += [*added, *turn.output_ids]


@pytest.mark.needs("prefix_cache", "native")
def test_new_prompt_finds_nothing(ask: Ask, server: Server) -> None:
    """A prompt that was never sent is not reported as cached."""
    meta = ask.generate(fresh(server.page_size + 32)).meta_info
    half = meta.prompt_tokens // 2
    assert meta.cached_tokens <= half, f"{meta.cached_tokens} tokens cached of a new prompt"
