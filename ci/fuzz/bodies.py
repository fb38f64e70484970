"""Makes of bodies that a schema allows such as reach the model, and end soon.

A schema says of nearly every field that it may be left out, and of no number how large it may
be: what is drawn from it is mostly refused, or asks for hours of work.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

COUNTS = {
    *("max_tokens", "max_completion_tokens", "max_output_tokens", "max_new_tokens"),
    *("min_tokens", "min_new_tokens", "n", "best_of", "beam_width", "num_predict"),
}
"""Numbers of tokens or choices in a request, in any of the dialects that SGLang speaks."""
LIMITS = {"messages": "max_tokens", "prompt": "max_tokens", "input": "max_output_tokens"}
"""What limits the answer to a request that has such a field."""
NATIVE = {"text", "input_ids", "input_embeds"}
"""Fields of SGLang's own requests, which are limited in their `sampling_params`.

Those of `/vertex_generate`, its `instances`, have their parameters beside them.
"""


OLLAMA = {"/api/chat", "/api/generate"}
"""Paths whose requests are limited in their `options`, to 2048 tokens where there are none."""
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

_FLAG, _WHOLE, _NUMBER, _TEXT = (
    {"type": one} for one in ("boolean", "integer", "number", "string")
)
_TEXTS = {"anyOf": [_TEXT, {"type": "array", "items": _TEXT}]}
_SHARED: Mapping[str, Any] = {
    "stop": _TEXTS,
    "top_k": _WHOLE,
    **dict.fromkeys(("temperature", "top_p", "min_p"), _NUMBER),
    **dict.fromkeys(("frequency_penalty", "presence_penalty"), _NUMBER),
}
_SAMPLING: Mapping[str, Any] = {
    **_SHARED,
    "repetition_penalty": _NUMBER,
    "stop_regex": _TEXTS,
    "stop_token_ids": {"type": "array", "items": _WHOLE},
    **dict.fromkeys(("max_new_tokens", "min_new_tokens", "n", "beam_width"), _WHOLE),
    **dict.fromkeys(("stream_interval", "sampling_seed"), _WHOLE),
    **dict.fromkeys(("json_schema", "regex", "ebnf", "structural_tag"), _TEXT),
    **dict.fromkeys(("ignore_eos", "skip_special_tokens", "no_stop_trim"), _FLAG),
    "logit_bias": {"type": "object"},
    "custom_params": {"type": "object"},
}
_OLLAMA: Mapping[str, Any] = {
    **_SHARED,
    "repeat_penalty": _NUMBER,
    **dict.fromkeys(("num_predict", "seed", "num_ctx"), _WHOLE),
}
_GENERATE = "#/components/schemas/GenerateReqInput"
INNER: Mapping[str, dict[str, Any]] = {
    "sampling_params": {"type": "object", "properties": _SAMPLING},
    **{f"{path} options": {"type": "object", "properties": _OLLAMA} for path in OLLAMA},
    "/vertex_generate parameters": {"$ref": _GENERATE},
    "/vertex_generate instances[]": {"type": "object", "properties": {"text": _TEXT}},
}
"""Fields of objects of which SGLang's schema only says that they are objects."""


def inner(path: str, name: str) -> tuple[dict[str, Any], ...]:
    """Return what is known of a field of a request to `path` beside what its schema says."""
    found = INNER.get(f"{path} {name}") or INNER.get(name.rpartition(".")[2])
    return (found,) if found else ()


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


def alone(body: Any, field: str) -> Any:
    """Return `body` without SGLang's text where `field` is another form of it."""
    if isinstance(body, dict) and field.partition("[")[0] in NATIVE - {"text"}:
        return {name: value for name, value in body.items() if name != "text"}
    return body


def limited(body: Any, most: int, path: str = "") -> Any:
    """Return `body` with every count of tokens or choices held to `most`, and with such a limit.

    Only whole numbers are held: a count of another type is what the server has to refuse.

    Args:
        body: A request's body, or a part of one.
        most: The limit.
        path: Where it is sent, if it is a whole one.
    """
    if isinstance(body, list):
        return [limited(each, most) for each in body]
    if not isinstance(body, dict):
        return body
    found = {name: _held(name, value, most) for name, value in body.items()}
    if path in OLLAMA:
        found["options"] = found.get("options") or {}
    if isinstance(found.get("options"), dict):
        found["options"].setdefault("num_predict", most)
    for field, limit in LIMITS.items():
        if field in found:
            found.setdefault(limit, most)
    if NATIVE & found.keys():
        found.setdefault("sampling_params", {})
    if "instances" in found and isinstance(found.setdefault("parameters", {}), dict):
        found["parameters"].setdefault("sampling_params", {"max_new_tokens": most})
    if isinstance(found.get("sampling_params"), dict):
        found["sampling_params"].setdefault("max_new_tokens", most)
    return found


def _held(name: str, value: Any, most: int) -> Any:
    if name in COUNTS and isinstance(value, int) and not isinstance(value, bool):
        return min(value, most)
    return limited(value, most)
