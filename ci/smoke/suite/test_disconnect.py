"""Clients that go away do no harm."""

import pytest

from ci.smoke.ask import Ask, fresh, native

LEFT = 4
LONG = 256


@pytest.mark.needs("generation")
def test_clients_that_leave_do_no_harm(ask: Ask) -> None:
    """Streams that are left after their first bytes don't keep others from an answer."""
    for _ in range(LEFT):
        body = native(fresh(4), {"stream": True}, max_new_tokens=LONG, ignore_eos=True)
        with ask.client.stream("POST", "/generate", json=body) as response:
            start = next(response.iter_bytes())
        assert start.startswith(b"data:"), f"the stream begins with {start[:80]!r}"
    count = len(ask.generate("a", max_new_tokens=4, ignore_eos=True).output_ids)
    assert count == 4, f"4 tokens were asked for, {count} came"
