"""Clients that go away do no harm."""

from typing import Any

import httpx
import pytest

from ci.smoke.ask import Ask, fresh, native
from ci.smoke.server import Server
from ci.smoke.sse import first_event

LEFT = 4
LONG = 256
SHORTER = 64
"""For engines that work on one request at a time and go on with those that were left."""


@pytest.mark.needs("generation")
def test_clients_that_leave_do_no_harm(ask: Ask, server: Server) -> None:
    """Streams that are left after their first event don't keep others from an answer."""
    for _ in range(LEFT):
        path, body = long_stream(ask, server)
        with ask.client.stream("POST", path, json=body) as response:
            assert response.status_code == httpx.codes.OK, f"the stream got {response.status_code}"
            first_event(response.iter_bytes(), f"POST {path}")
    ask.answers_still(server)


def long_stream(ask: Ask, server: Server) -> tuple[str, dict[str, Any]]:
    """Return path and body of a request for a long stream."""
    if server.can("native"):
        sampling = {"max_new_tokens": LONG, "ignore_eos": True}
        return "/generate", native(fresh(4), {"stream": True}, **sampling)
    body = ask.openai(prompt=fresh(4), max_tokens=SHORTER, ignore_eos=True, stream=True)
    return "/v1/completions", body
