"""One token, please: the smallest request that shows that an SGLang server works."""

from __future__ import annotations

from typing import Any

PATH = "/generate"
REQUEST: dict[str, Any] = {
    "text": "Hello",
    "sampling_params": {"max_new_tokens": 1, "temperature": 0, "ignore_eos": True},
}
EMBEDDINGS = "/v1/embeddings"
EMBEDDING: dict[str, Any] = {"model": "default", "input": "Hello"}
"""Of a model that makes embeddings; SGLang takes any model's name."""


def problem_of(answer: Any) -> str:
    """Return why the JSON that came back is no proof of a token; empty where it is one."""
    meta = answer.get("meta_info") if isinstance(answer, dict) else None
    tokens = meta.get("completion_tokens") if isinstance(meta, dict) else None
    return "" if tokens == 1 else f"one token was asked for, completion_tokens is {tokens!r}"
