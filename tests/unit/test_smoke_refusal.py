"""A refusal has to be the server's own."""

from __future__ import annotations

import httpx
import pytest

from ci import engines
from ci.smoke.refusal import refused
from ci.smoke.server import Server

pytestmark = pytest.mark.unit

PAGE = "<html><head><title>413 Request Entity Too Large</title></head></html>"
OWN = (
    {"object": "error", "message": "The input is too long.", "type": "BadRequest", "code": 400},
    {"error": {"message": "The input is too long.", "code": 400}},
    {"error": "Unauthorized"},
    {"detail": "Not Found"},
    {"detail": [{"loc": ["body"], "msg": "field required"}]},
)
FOREIGN: tuple[object, ...] = ({"message": "Request Too Long"}, {"error": {}}, [], {}, "too long")


def server(engine: str = "sglang") -> Server:
    """Return a server of an engine."""
    profile = engines.profile(engine)
    return Server("http://x", {"id": "m"}, {}, {}, profile.absent, profile)


def answer(status: int, **content: object) -> httpx.Response:
    """Return an answer to a request."""
    request = httpx.Request("POST", "http://x/generate")
    return httpx.Response(status, request=request, **content)  # type: ignore[arg-type]


@pytest.mark.parametrize("content", OWN)
def test_the_servers_own_refusals_pass(content: object) -> None:
    """A good server fails because it gives its reason in another of its shapes."""
    refused(answer(400, json=content), server())


@pytest.mark.parametrize("content", FOREIGN)
def test_json_of_somebody_else_fails(content: object) -> None:
    """A gateway's refusal is taken for the server's."""
    with pytest.raises(AssertionError, match="not by the server itself: application/json"):
        refused(answer(413, json=content), server())


@pytest.mark.parametrize("engine", ["sglang", "vllm", "tgi"])
def test_a_proxys_page_fails(engine: str) -> None:
    """The server never saw the prompt, and passes."""
    told = "/generate: refused by nginx/1.22.1 and not by the server itself: text/html, HTTP 413"
    headers = {"server": "nginx/1.22.1"}
    with pytest.raises(AssertionError, match=told):
        refused(answer(413, html=PAGE, headers=headers), server(engine))


def test_another_engine_may_refuse_in_plain_text() -> None:
    """TGI fails for how its HTTP library refuses broken JSON."""
    text = "Failed to parse the request body as JSON"
    refused(answer(400, text=text), server("tgi"))
    with pytest.raises(AssertionError, match="not by the server itself"):
        refused(answer(400, text=text), server())


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (answer(200, json={}), "4xx is due, it got HTTP 200"),
        (answer(500, json={}), "4xx is due, it got HTTP 500"),
        (answer(400), "HTTP 400 gives no reason"),
    ],
)
def test_what_is_no_refusal_fails(found: httpx.Response, told: str) -> None:
    """A bad request that is answered passes."""
    with pytest.raises(AssertionError, match=told):
        refused(found, server())
