"""What is put into a field: the edges of its own type, and something of every other."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

from ci.fuzz.fields import DescribedApi, Schema

NUMBERS = (0, 1, -1, 100_000, 2**31, 2**63, 1e308, math.inf, math.nan)
"""Infinity is sent as 1e999, which JSON allows; NaN as it is, which some readers of it allow."""
TEXTS = (
    *("", "\0", "\ud800", "a" * 10_000),
    *("(", "root ::= (", '{"type": "?"}', "{{"),
)
"""The second line breaks what reads a regex, a grammar, a JSON schema or a template."""
STRANGE: tuple[Any, ...] = (None, True, 7, "NaN", [], {}, [None], {"": None})
"""One of each type that JSON has: most fields forbid most of them."""
NOT_LISTED = ("\0", TEXTS[3], *TEXTS[5:], 7, "NaN", [None], {"": None})
"""What isn't put into a list: it comes alone, and a list of it makes a run too long."""


def values(described: DescribedApi, schema: Schema, *, listed: bool = False) -> Iterator[Any]:
    """Yield what is put into a field; some may come twice.

    Args:
        described: The document that the schema is of.
        schema: What may stand there.
        listed: Whether it is an item of a list.
    """
    found = _values(described, schema)
    return (one for one in found if not (listed and one in NOT_LISTED))


def _values(described: DescribedApi, schema: Schema) -> Iterator[Any]:
    for one in described.variants(schema):
        kind = one.get("type")
        if "const" in one or "enum" in one:
            yield from one.get("enum", (one.get("const"),))
        elif kind in {"integer", "number"}:
            yield from NUMBERS
            yield from (one[end] + step for end, step in _ENDS if end in one)
        elif kind == "string":
            yield from TEXTS
        elif kind == "boolean":
            yield from (True, False)
    yield from STRANGE


_ENDS = (("minimum", 0), ("minimum", -1), ("maximum", 0), ("maximum", 1))


def text_of(value: Any) -> str:
    """Return a value as JSON, in which Infinity is a number too large for any reader."""
    return json.dumps(value).replace("Infinity", "1e999")


def comparable(text: str) -> Any:
    """Return JSON as a validator can read it: without what no UTF-8 and no number can be."""
    return json.loads(text.replace("1e999", "1e308").replace("\\ud800", "a"))
