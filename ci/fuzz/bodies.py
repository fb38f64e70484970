"""Makes of bodies that a schema allows such as reach the model, and end soon.

A schema says of nearly every field that it may be left out, and of no number how large it may
be: what is drawn from it is mostly refused, or asks for hours of work.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

COUNTS = {
    *("max_tokens", "max_completion_tokens", "max_output_tokens", "max_new_tokens"),
    *("min_tokens", "min_new_tokens", "n", "best_of"),
}
"""Numbers of tokens or choices in a request, in any of the dialects that SGLang speaks."""
LIMITS = {"messages": "max_tokens", "prompt": "max_tokens", "input": "max_output_tokens"}
"""What limits the answer to a request that has such a field."""
NATIVE = {"text", "input_ids", "input_embeds"}
"""Fields of SGLang's own requests, which are limited in their `sampling_params`."""


_CHAT = {"messages": [{"role": "user", "content": "Hello"}]}
ESSENTIAL: Mapping[str, dict[str, Any]] = {
    "/generate": {"text": "Hello"},
    "/v1/completions": {"prompt": "Hello"},
    "/v1/chat/completions": _CHAT,
    "/v1/messages": _CHAT,
    "/v1/messages/count_tokens": _CHAT,
    "/v1/responses": {"input": "Hello"},
    "/v1/tokenize": {"prompt": "Hello"},
    "/v1/detokenize": {"tokens": [1, 2, 3]},
    "/api/chat": _CHAT,
    "/api/generate": {"prompt": "Hello"},
    "/invocations": _CHAT,
    "/vertex_generate": {"instances": [{"text": "Hello"}]},
    "/open_session": {"capacity_of_str_len": 100},
    "/encode": {"text": "Hello"},
    "/classify": {"text": "Hello"},
    "/v1/classify": {"input": "Hello"},
    "/v1/embeddings": {"input": "Hello"},
    "/v1/rerank": {"query": "Hello", "documents": ["Hello"]},
    "/v1/score": {"query": "Hello", "items": ["Hello"], "label_token_ids": [5]},
}
"""What a request to a path can't do without."""


def completed(body: Any, path: str) -> Any:
    """Return `body` with what a request to `path` can't do without, where that is known."""
    return body | ESSENTIAL.get(path, {}) if isinstance(body, dict) else body


def narrowed(body: Any, path: str, turn: int) -> Any:
    """Return what a request to `path` can't do without, and one field of `body`, each in turn.

    A server refuses a request for the first fault that it finds: the others stay unseen.
    """
    if not isinstance(body, dict) or not body or path not in ESSENTIAL:
        return body
    name = sorted(body)[turn % len(body)]
    return ESSENTIAL[path] | {name: body[name]}


def limited(body: Any, most: int) -> Any:
    """Return `body` with every count of tokens or choices held to `most`, and with such a limit.

    Only whole numbers are held: a count of another type is what the server has to refuse.
    """
    if isinstance(body, list):
        return [limited(each, most) for each in body]
    if not isinstance(body, dict):
        return body
    found = {name: _held(name, value, most) for name, value in body.items()}
    for field, limit in LIMITS.items():
        if field in found:
            found.setdefault(limit, most)
    if NATIVE & found.keys():
        found.setdefault("sampling_params", {})
    if isinstance(found.get("sampling_params"), dict):
        found["sampling_params"].setdefault("max_new_tokens", most)
    return found


def _held(name: str, value: Any, most: int) -> Any:
    if name in COUNTS and isinstance(value, int) and not isinstance(value, bool):
        return min(value, most)
    return limited(value, most)
