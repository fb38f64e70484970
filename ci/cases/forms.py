"""Shapes of answers: fields, each as a JSON schema and as a regular expression.

Every form bounds its own length, so that any model reaches its end, and is of a kind that no
constant answer has.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

Schema = dict[str, Any]


@dataclass(frozen=True)
class RecordField:
    """One field of a record: its name, its schema, and what it looks like as text."""

    name: str
    schema: Schema
    regex: str


def options(name: str, some: Sequence[str]) -> RecordField:
    """Return a field that is one of some words."""
    return RecordField(name, {"type": "string", "enum": list(some)}, one_of(some))


def one_of(some: Sequence[str]) -> str:
    """Return the regular expression of one of some texts."""
    return f"({'|'.join(re.escape(one) for one in some)})"


def code(name: str, prefix: str, digits: int) -> RecordField:
    """Return a field such as INV-0042."""
    regex = f"{prefix}-[0-9]{{{digits}}}"
    return RecordField(name, {"type": "string", "pattern": f"^{regex}$"}, regex)


def whole(name: str, least: int, most: int) -> RecordField:
    """Return a whole number between two others."""
    digits = len(str(most))
    schema = {"type": "integer", "minimum": least, "maximum": most}
    return RecordField(name, schema, f"[1-9][0-9]{{0,{digits - 1}}}")


def money(name: str) -> RecordField:
    """Return an amount with two decimals, as text."""
    regex = r"[1-9][0-9]{0,3}\.[0-9]{2}"
    return RecordField(name, {"type": "string", "pattern": f"^{regex}$"}, regex)


def day(name: str) -> RecordField:
    """Return a date of this century."""
    regex = "20[2-9][0-9]-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])"
    return RecordField(name, {"type": "string", "pattern": f"^{regex}$"}, regex)


def word(name: str) -> RecordField:
    """Return one lower-case word."""
    return RecordField(name, {"type": "string", "pattern": "^[a-z]{3,9}$"}, "[a-z]{3,9}")


def note(name: str) -> RecordField:
    """Return a short text; as a regular expression two words."""
    return RecordField(
        name, {"type": "string", "minLength": 1, "maxLength": 12}, "[a-z]{2,6} [a-z]{2,6}"
    )


def flag(name: str) -> RecordField:
    """Return yes or no."""
    return RecordField(name, {"type": "boolean"}, "(true|false)")


def maybe(field: RecordField) -> RecordField:
    """Return a field that may be null."""
    return RecordField(
        field.name, {"anyOf": [field.schema, {"type": "null"}]}, f"({field.regex}|none)"
    )


def several(field: RecordField, most: int) -> RecordField:
    """Return a list of one to `most`."""
    schema = {"type": "array", "items": field.schema, "minItems": 1, "maxItems": most}
    return RecordField(f"{field.name}s", schema, f"{field.regex}(, {field.regex}){{0,{most - 1}}}")


def record(fields: Sequence[RecordField]) -> Schema:
    """Return the schema of an object with exactly these fields."""
    return {
        "type": "object",
        "properties": {field.name: field.schema for field in fields},
        "required": [field.name for field in fields],
        "additionalProperties": False,
    }


def nested(name: str, fields: Sequence[RecordField]) -> RecordField:
    """Return a field that is a record of its own."""
    line = " ".join(field.regex for field in fields)
    return RecordField(name, record(fields), rf"\({line}\)")


def lines(fields: Sequence[RecordField]) -> str:
    """Return the regular expression of `name: value` lines."""
    return r"\n".join(f"{field.name}: {field.regex}" for field in fields)


def row(fields: Sequence[RecordField]) -> str:
    """Return the regular expression of one line of a table."""
    return r" \| ".join(field.regex for field in fields)


def element(fields: Sequence[RecordField]) -> str:
    """Return the regular expression of an XML element."""
    inside = "".join(f"<{field.name}>{field.regex}</{field.name}>" for field in fields)
    return f"<record>{inside}</record>"


LAYOUTS: dict[str, Callable[[Sequence[RecordField]], str]] = {
    "lines": lines,
    "a table row": row,
    "an XML element": element,
}
"""Ways to write a record as text, by what a prompt calls them."""


def varied(fields: Sequence[RecordField], random: Random) -> list[RecordField]:
    """Return two or three of the fields, some as lists, some optional, some inside another."""
    some = random.sample(list(fields), k=min(len(fields), random.choice((2, 3, 3))))
    way = random.choice(("plain", "list", "null", "nested"))
    last = some[-1]
    if way == "list":
        return [*some[:-1], several(last, random.choice((2, 3)))]
    if way == "null":
        return [*some[:-1], maybe(last)]
    return [some[0], nested("details", some[1:])] if way == "nested" else some
