"""Clients that go away do no harm."""

import httpx
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
            assert response.status_code == httpx.codes.OK, f"the stream got {response.status_code}"
        assert start.startswith(b"data:"), f"the stream begins with {start[:80]!r}"
    ask.generate("a")
