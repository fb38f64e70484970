"""Judges the start of a JSON text, for an answer that ran out of tokens before its end.

A JSON schema leaves white space free, in which a weak model may stay until its limit. What came
until then must still be the start of a valid answer.
"""

from __future__ import annotations

import json
import re
from typing import Any

from pydantic_core import from_json

_LATER = ("required", "minItems", "minProperties", "contains")
"""Keywords that only a whole value can fulfil."""
_CUT = re.compile(r"[-+.\w]+$")
"""A number or a word at the end, of which more may have been to come."""


def start_of(text: str) -> Any:
    """Return what is complete of a JSON object or array that breaks off somewhere.

    Raises:
        ValueError: It is not the start of one.
    """
    begun = text.lstrip()
    if not begun.startswith(("{", "[")):
        raise ValueError("no object or array begins")
    if _ends(begun):
        raise ValueError("it goes on after its end")
    from_json(begun, allow_partial=True)
    return from_json(_CUT.sub("", begun), allow_partial=True)


def _ends(text: str) -> bool:
    try:
        json.JSONDecoder().raw_decode(text)
    except ValueError:
        return False
    return True


def relaxed(schema: Any) -> Any:
    """Return a schema without what only a whole value can fulfil."""
    if isinstance(schema, dict):
        return {key: relaxed(value) for key, value in schema.items() if key not in _LATER}
    return [relaxed(one) for one in schema] if isinstance(schema, list) else schema
