"""A known traffic, after which every series that it can bring about is there.

SGLang's counters with labels don't exist before their first event. A few dozen tokens in nine
steps; after each the page is read again, so that it is known which event made a series begin.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ci.server.documents import document
from ci.server.exchange import Exchange

NOWHERE = "/sglang-ci-asks-what-is-not-there"
ABORTED = "num_aborted_requests"
"""Part of the name of what an aborted stream brings about, half a second to two later."""
SETTLES = 5.0
"""Most seconds that are waited for that."""
OK = 200

DEFAULT = "default"
"""A model's name where the server lists none; SGLang takes any."""
GENERATED = ("an answered request", "a chat")
"""Events of which a server that works lets one happen."""

_FEW = {"max_new_tokens": 8, "temperature": 0, "ignore_eos": True}
_SAME = "The quick brown fox jumps over the lazy dog. " * 4
_LONG = "A long prompt has many words, " * 60


@dataclass(frozen=True)
class TrafficStep:
    """One event.

    Args:
        event: What happens, in words.
        path: What is asked.
        body: What is sent; None for a GET.
        cut: Whether the client goes away in the middle.
    """

    event: str
    path: str
    body: dict[str, Any] | None = None
    cut: bool = False

    async def take(self, exchange: Exchange, model: str = DEFAULT) -> int:
        """Make it happen, and return the answer's HTTP status.

        Args:
            exchange: The server.
            model: The served model.

        Raises:
            KeyRefused: The server wants another API key.
            ServerFault: The server is gone, or gives no whole answer.
        """
        if self.cut:
            await exchange.cut(self.path, self.body)
            return OK
        method = "GET" if self.body is None else "POST"
        body = self.body | {"model": model} if self.body and "model" in self.body else self.body
        answer = await exchange.ask(method, self.path, body)
        return exchange.permitted(self.path, answer).status


def _generate(event: str, text: str, *, cut: bool = False, **changed: Any) -> TrafficStep:
    stream = bool(changed.pop("stream", False))
    body = {"text": text, "sampling_params": _FEW | changed, "stream": stream}
    return TrafficStep(event, "/generate", body, cut)


STEPS = (
    _generate("an answered request", _SAME),
    _generate("a stream", _SAME, stream=True, max_new_tokens=32),
    _generate("a repeated prefix", _SAME),
    _generate("a long prompt", _LONG),
    _generate("a constrained answer", "Say yes.", regex="(yes|no)", ignore_eos=False),
    TrafficStep(
        "a chat",
        "/v1/chat/completions",
        {
            "model": DEFAULT,
            "messages": [{"role": "user", "content": "Say yes."}],
            "max_tokens": 8,
        },
    ),
    _generate("a refused request", "No.", temperature=-1),
    TrafficStep("an unknown path", NOWHERE),
    _generate("an aborted stream", _SAME, cut=True, stream=True, max_new_tokens=1500),
)
"""The steps in their order; the one that settles late stands last."""


async def served(exchange: Exchange) -> str:
    """Return the name of the served model.

    Raises:
        ServerFault: No whole answer came.
    """
    answer = await exchange.ask("GET", "/v1/models")
    try:
        return str(document(answer.body)["data"][0]["id"])
    except (ValueError, KeyError, IndexError, TypeError):
        return DEFAULT
