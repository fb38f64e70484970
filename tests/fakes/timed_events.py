"""What the server of known timing says: SGLang's streams, byte by byte, made beforehand."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

DONE = b"data: [DONE]\n\n"
WORD = " tok"


@lru_cache(maxsize=512)
def generate(tokens: int, prompt_tokens: int, finish: str = "length") -> tuple[bytes, ...]:
    """Return an event a token of SGLang 0.5.23's `/generate`, each with all that came before."""
    return tuple(_native(at, tokens, prompt_tokens, finish) for at in range(1, tokens + 1))


def _native(at: int, tokens: int, prompt_tokens: int, finish: str) -> bytes:
    ended = {"type": finish, "length": tokens} if at == tokens else None
    return event(
        {
            "text": WORD * at,
            "output_ids": list(range(10, 10 + at)),
            "meta_info": {
                "id": "3f3e65aeedce4569828594a9d26a2127",
                "finish_reason": ended,
                "prompt_tokens": prompt_tokens,
                "weight_version": "default",
                "queue_time": 0.0004676769985962892,
                "completion_tokens": at,
                "cached_tokens": 0,
                "dp_rank": None,
            },
        }
    )


@lru_cache(maxsize=512)
def chat(tokens: int, prompt_tokens: int, finish: str = "length") -> tuple[bytes, ...]:
    """Return what each token brings in a chat stream: the role before the first, totals last."""
    events = [
        event(_chunk({"content": WORD}, None, usage(prompt_tokens, at)))
        for at in range(1, tokens + 1)
    ]
    events[0] = event(_chunk({"role": "assistant", "content": ""}, None, None)) + events[0]
    end = event(_chunk({}, finish, None)) + event(
        {**_BASE, "choices": []} | usage(prompt_tokens, tokens)
    )
    events[-1] += end
    return tuple(events)


_BASE = {
    "id": "9d2ebacb2c3242d3a6f5608e57dc11e4",
    "object": "chat.completion.chunk",
    "created": 1795393518,
    "model": "timed",
}


def usage(prompt_tokens: int, tokens: int) -> dict[str, Any]:
    """Return the counts that a chunk carries."""
    total = prompt_tokens + tokens
    counts = {"prompt_tokens": prompt_tokens, "completion_tokens": tokens, "total_tokens": total}
    return {"usage": counts | {"prompt_tokens_details": None}}


def _chunk(
    delta: dict[str, str], finish: str | None, more: dict[str, Any] | None
) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return {**_BASE, "choices": [choice], **(more or {})}


def uncounted(events: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """Return chat events of a server that tells counts only at the end."""
    found = []
    for piece in events:
        lines = [json.loads(line[6:]) for line in piece.split(b"\n\n") if line]
        for line in lines:
            if line["choices"]:
                line.pop("usage", None)
        found.append(b"".join(map(event, lines)))
    return tuple(found)


def event(document: Any) -> bytes:
    """Return one server-sent event."""
    return b"data: " + json.dumps(document, separators=(",", ":")).encode() + b"\n\n"


def chunk(data: bytes) -> bytes:
    """Return a piece of a body in HTTP's chunked encoding."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def answer(status: str, body: bytes, kind: str = "application/json") -> bytes:
    """Return a whole answer."""
    head = f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nserver: uvicorn\r\n"
    b"content-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"
)
