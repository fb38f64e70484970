"""Ways to ask a server something: one call a kind of answer, typed, and strict on its shape.

Whatever is wrong with an answer is an `AssertionError` whose first line names the request and
the problem. Decoding is greedy unless a call says otherwise.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any

import httpx

from ci.concurrency import waited_for_core
from ci.secrets.veil import beginning, ending
from ci.server.bounded import BodyFault
from ci.server.documents import document
from ci.server.exchange import media_type
from ci.smoke.answers import Chat, Completion, Generation, Generations, read
from ci.smoke.arrival import Arrival
from ci.smoke.server import Server
from ci.smoke.sse import Event, parse
from ci.smoke.transport import explain, refused_key, status_line

Prompt = str | Sequence[int]
"""Text, or the ids of its tokens."""

GREEDY = {"temperature": 0, "max_new_tokens": 8}
"""Sampling parameters of a call that names none."""

ECHO = {"return_logprob": True, "logprob_start_len": 0}
"""Keys of a `/generate` request that has the prompt's token ids echoed."""


class Ask:
    """Asks one server; made by the fixture `ask`."""

    def __init__(self, client: httpx.Client, model: str) -> None:
        """Keep the client and the served model's name."""
        self.client, self.model = client, model

    def generate(
        self, prompt: Prompt, request: Mapping[str, Any] | None = None, **sampling: Any
    ) -> Generation:
        """Return what `/generate` makes of one prompt.

        Args:
            prompt: Text or token ids.
            request: More keys of the request beside the prompt and sampling parameters.
            **sampling: Sampling parameters, on top of `GREEDY`.
        """
        body = native(prompt, request, **sampling)
        return read(Generation, self.post("/generate", body), "POST /generate")

    def batch(
        self, prompts: Sequence[str], request: Mapping[str, Any] | None = None, **sampling: Any
    ) -> tuple[Generation, ...]:
        """Return what `/generate` makes of several prompts in one request."""
        body = {**native("", request, **sampling), "text": list(prompts)}
        answer = self.post("/generate", body)
        return read(Generations, answer, "POST /generate").root

    def complete(self, prompt: Any, **body: Any) -> Completion:
        """Return the answer of `/v1/completions`; `body` has more keys of the request."""
        path = "/v1/completions"
        return read(Completion, self.post(path, self.openai(prompt=prompt, **body)), f"POST {path}")

    def chat(self, messages: str | Sequence[Mapping[str, Any]], **body: Any) -> Chat:
        """Return the answer of `/v1/chat/completions` to messages, or to one user's text."""
        path = "/v1/chat/completions"
        asked = self.openai(messages=conversation(messages), **body)
        return read(Chat, self.post(path, asked), f"POST {path}")

    def answers_still(self, server: Server) -> None:
        """Have a server that generates answer a plain request."""
        if server.can("native"):
            self.generate("a", max_new_tokens=2)
        else:
            self.complete("a", max_tokens=2)

    def stream(self, path: str, body: Mapping[str, Any]) -> tuple[Event, ...]:
        """Return all events of a stream, without the final `[DONE]`.

        Raises:
            AssertionError: The stream isn't well formed or not whole.
            KeyRefused: The server wants another API key.
            httpx.TransportError: It didn't come.
        """
        return self._streamed(path, body)[0]

    def arrival(self, path: str, body: Mapping[str, Any]) -> Arrival:
        """Return how a stream came; errors as of `stream`."""
        before, begun = waited_for_core(), time.monotonic()
        events, moments, length = self._streamed(path, body)
        seconds, after = time.monotonic() - begun, waited_for_core()
        lost = None if before is None or after is None else after - before
        return Arrival(seconds, tuple(at - begun for at in moments), len(events), lost, length)

    def _streamed(
        self, path: str, body: Mapping[str, Any]
    ) -> tuple[tuple[Event, ...], list[float], str]:
        """Return a stream's events, when each piece was read, and the length it was sent with."""
        moments: list[float] = []
        with self.client.stream("POST", path, json={**body, "stream": True}) as response:
            raw = _body(response, moments)
        kind = media_type(response)
        where = f"POST {path}"
        if refused := refused_key(response):
            raise refused
        if response.status_code != httpx.codes.OK or kind != "text/event-stream":
            start = beginning(raw.decode("utf-8", "replace"), 200)
            raise AssertionError(f"{where}: no stream, but {response.status_code} {kind}: {start}")
        return parse(raw, where), moments, response.headers.get("content-length", "")

    def post(self, path: str, body: Any) -> Any:
        """Return the JSON with which the server answers `body`, with status 200."""
        response = self.client.post(path, json=body)
        if refused := refused_key(response):
            raise refused
        if response.status_code != httpx.codes.OK:
            body = beginning(response.text, 4000)
            raise AssertionError(f"POST {path}: {status_line(response)}\n{body}")
        try:
            return document(response.content)
        except ValueError as error:
            problem = f"POST {path}: the answer is not JSON: {beginning(response.text, 80)!r}"
            raise AssertionError(f"{problem}\n{beginning(response.text, 4000)}") from error

    def openai(self, **body: Any) -> dict[str, Any]:
        """Return the body of a greedy OpenAI request for 8 tokens, with `body` on top."""
        return {"model": self.model, "temperature": 0, "max_tokens": 8, **body}


def native(
    prompt: Prompt, request: Mapping[str, Any] | None = None, **sampling: Any
) -> dict[str, Any]:
    """Return the body of a `/generate` request."""
    asked = {"text": prompt} if isinstance(prompt, str) else {"input_ids": list(prompt)}
    return {**asked, "sampling_params": {**GREEDY, **sampling}, **(request or {})}


def fresh(words: int) -> str:
    """Return a text of random words, which no prefix cache holds; each is a token or more."""
    return " ".join(secrets.token_hex(3) for _ in range(words))


def conversation(messages: str | Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return messages as the API takes them; a text is one message of the user."""
    if isinstance(messages, str):
        return [{"role": "user", "content": messages}]
    return [dict(message) for message in messages]


def _body(response: httpx.Response, moments: list[float]) -> bytes:
    """Read a stream's body and note when each piece came; one that is cut is shown up to there."""
    raw = bytearray()
    try:
        for chunk in response.iter_bytes():
            moments.append(time.monotonic())
            raw += chunk
    except BodyFault as error:
        shown = ending(raw.decode("utf-8", "replace"), 4000)
        raise AssertionError(f"{explain(error)}\n{shown}") from error
    return bytes(raw)
