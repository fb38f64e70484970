"""Judges the start of a JSON text, for an answer that ran out of tokens before its end.

A JSON schema leaves white space free, in which a weak model may stay until its limit. What came
until then must still be the start of a valid answer.
"""

from __future__ import annotations

import json
from typing import Any

_CLOSING = {"{": "}", "[": "]"}
_LATER = ("required", "minItems", "minProperties", "contains")
"""Keywords that only a whole value can fulfil."""


def start_of(text: str) -> Any:
    """Return what is complete of a JSON object or array that breaks off somewhere.

    Raises:
        ValueError: It is not the start of one.
    """
    stack: list[str] = []
    kept, quoted, escaped = "", False, False
    for at, letter in enumerate(text):
        if quoted:
            quoted, escaped = escaped or letter != '"', letter == "\\" and not escaped
        elif letter == '"':
            quoted = True
        elif letter in _CLOSING:
            stack.append(letter)
            kept = text[: at + 1] + _closed(stack)
        elif letter in _CLOSING.values():
            if not stack or _CLOSING[stack.pop()] != letter:
                raise ValueError("brackets don't match")
            kept = text[: at + 1] + _closed(stack)
        elif letter == ",":
            kept = text[:at] + _closed(stack)
    if not kept:
        raise ValueError("no object or array begins")
    return json.loads(kept)


def relaxed(schema: Any) -> Any:
    """Return a schema without what only a whole value can fulfil."""
    if isinstance(schema, dict):
        return {key: relaxed(value) for key, value in schema.items() if key not in _LATER}
    return [relaxed(one) for one in schema] if isinstance(schema, list) else schema


def _closed(stack: list[str]) -> str:
    return "".join(_CLOSING[letter] for letter in reversed(stack))
