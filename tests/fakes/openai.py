"""A fake server of the OpenAI API, dressed as any engine: real HTTP, answers of known text.

In a test: `with fake_engine({"/version": {"version": "1.2"}}) as url`. As a process:
`python -m tests.fakes.openai --port 30000 --name tiny`.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

from tests.fakes.serving import JsonHandler, serving

WORDS = ("one", "two", "three", "four")
TOKEN = 0.003
"""Seconds that an event of a stream takes."""
FAULTS = ("cut", "mute", "nameless")
"""Streams without an end; no choice in any answer; no model listed."""


class _Handler(JsonHandler):
    pages: ClassVar[Mapping[str, Any]] = {}
    faults: ClassVar[frozenset[str]] = frozenset()
    name: ClassVar[str] = "tiny"

    def do_GET(self) -> None:  # noqa: N802 - the standard library's name
        """Answer a page, or the list of models."""
        models = [] if "nameless" in self.faults else [{"id": self.name, "object": "model"}]
        listed = {"object": "list", "data": models}
        known: dict[str, Any] = {"/health": {}, "/v1/models": listed, **self.pages}
        found = known.get(self.path)
        if isinstance(found, str):
            self._raw("text/plain", found.encode())
        elif isinstance(found, int) or found is None:
            self.answer(found or 404, {"error": {"message": "no such page"}})
        else:
            self.answer(200, found)

    def do_POST(self) -> None:  # noqa: N802 - the standard library's name
        """Answer a completion or a chat."""
        try:
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            text = _prompt(asked)
        except (ValueError, KeyError, TypeError) as error:
            return self.answer(400, {"error": {"message": f"bad request: {error}"}})
        chat = self.path.startswith("/v1/chat")
        words = [f"{WORDS[at % len(WORDS)]} " for at in range(asked.get("max_tokens") or 4)]
        usage = _usage(len(text.split()), len(words))
        if asked.get("stream"):
            events = list(_events(words, usage, chat=chat))
            kept = events[:-3] if "cut" in self.faults else events
            return self._stream(kept)
        choices = [] if "mute" in self.faults else [_whole("".join(words), chat=chat)]
        kind = "chat.completion" if chat else "text_completion"
        told = {"id": "1", "object": kind, "model": asked["model"], "choices": choices}
        return self.answer(200, told | {"usage": usage})

    def _stream(self, events: list[str]) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        for event in events:
            time.sleep(TOKEN)
            self.wfile.write(event.encode())

    def _raw(self, kind: str, content: bytes) -> None:
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def _prompt(asked: Mapping[str, Any]) -> str:
    """Return what a request asks; ValueError where a value can't be."""
    if (asked.get("max_tokens") or 0) < 0 or (asked.get("temperature") or 0) < 0:
        raise ValueError("a negative number")
    if "messages" not in asked:
        if not isinstance(asked["prompt"], str):
            raise ValueError("the prompt is no text")
        return str(asked["prompt"])
    if not asked["messages"]:
        raise ValueError("no messages")
    return " ".join(f"{one['role']} {one['content']}" for one in asked["messages"])


def _usage(prompt: int, answer: int) -> dict[str, int]:
    return {
        "prompt_tokens": prompt,
        "completion_tokens": answer,
        "total_tokens": prompt + answer,
    }


def _whole(text: str, *, chat: bool) -> dict[str, Any]:
    said: dict[str, Any] = {"text": text}
    if chat:
        said = {"message": {"role": "assistant", "content": text}}
    return {"index": 0, **said, "finish_reason": "length"}


def _events(words: list[str], usage: Mapping[str, int], *, chat: bool) -> Iterator[str]:
    """Yield the events of a stream: words, the end of the choice, usage, the end."""
    for at, word in enumerate(words):
        role = {"role": "assistant"} if not at else {}
        said = {"delta": {**role, "content": word}} if chat else {"text": word}
        yield _event({"choices": [{"index": 0, **said, "finish_reason": None}]})
    last: dict[str, Any] = {"delta": {}} if chat else {"text": ""}
    yield _event({"choices": [{"index": 0, **last, "finish_reason": "length"}]})
    yield _event({"choices": [], "usage": usage})
    yield "data: [DONE]\n\n"


def _event(document: Mapping[str, Any]) -> str:
    return f"data: {json.dumps(document)}\n\n"


def handler(
    pages: Mapping[str, Any] | None = None, *faults: str, name: str = "tiny"
) -> type[BaseHTTPRequestHandler]:
    """Return what answers as a server with `pages`, statuses or documents by path."""
    assert set(faults) <= set(FAULTS)
    told = {"pages": dict(pages or {}), "faults": frozenset(faults), "name": name}
    return type("BoundHandler", (_Handler,), told)


def fake_engine(
    pages: Mapping[str, Any] | None = None, *faults: str, name: str = "tiny"
) -> AbstractContextManager[str]:
    """Serve; yield the base URL."""
    return serving(handler(pages, *faults, name=name))


def main() -> None:
    """Serve until a signal ends this process."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--name", default="tiny")
    parser.add_argument("--fault", action="append", default=[], choices=FAULTS)
    given = parser.parse_args()
    bound = handler({}, *given.fault, name=given.name)
    ThreadingHTTPServer(("127.0.0.1", given.port), bound).serve_forever()


if __name__ == "__main__":
    main()
