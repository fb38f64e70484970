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
class Field:
    """One field of a record: its name, its schema, and what it looks like as text."""

    name: str
    schema: Schema
    regex: str


def options(name: str, some: Sequence[str]) -> Field:
    """Return a field that is one of some words."""
    return Field(name, {"type": "string", "enum": list(some)}, one_of(some))


def one_of(some: Sequence[str]) -> str:
    """Return the regular expression of one of some texts."""
    return f"({'|'.join(re.escape(one) for one in some)})"


def code(name: str, prefix: str, digits: int) -> Field:
    """Return a field such as INV-0042."""
    regex = f"{prefix}-[0-9]{{{digits}}}"
    return Field(name, {"type": "string", "pattern": f"^{regex}$"}, regex)


def whole(name: str, least: int, most: int) -> Field:
    """Return a whole number between two others."""
    digits = len(str(most))
    schema = {"type": "integer", "minimum": least, "maximum": most}
    return Field(name, schema, f"[1-9][0-9]{{0,{digits - 1}}}")


def money(name: str) -> Field:
    """Return an amount with two decimals, as text."""
    regex = r"[1-9][0-9]{0,3}\.[0-9]{2}"
    return Field(name, {"type": "string", "pattern": f"^{regex}$"}, regex)


def day(name: str) -> Field:
    """Return a date of this century."""
    regex = "20[2-9][0-9]-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])"
    return Field(name, {"type": "string", "pattern": f"^{regex}$"}, regex)


def word(name: str) -> Field:
    """Return one lower-case word."""
    return Field(name, {"type": "string", "pattern": "^[a-z]{3,9}$"}, "[a-z]{3,9}")


def note(name: str) -> Field:
    """Return a short text; as a regular expression two words."""
    return Field(name, {"type": "string", "minLength": 1, "maxLength": 12}, "[a-z]{2,6} [a-z]{2,6}")


def flag(name: str) -> Field:
    """Return yes or no."""
    return Field(name, {"type": "boolean"}, "(true|false)")


def maybe(field: Field) -> Field:
    """Return a field that may be null."""
    return Field(field.name, {"anyOf": [field.schema, {"type": "null"}]}, f"({field.regex}|none)")


def several(field: Field, most: int) -> Field:
    """Return a list of one to `most`."""
    schema = {"type": "array", "items": field.schema, "minItems": 1, "maxItems": most}
    return Field(f"{field.name}s", schema, f"{field.regex}(, {field.regex}){{0,{most - 1}}}")


def record(fields: Sequence[Field]) -> Schema:
    """Return the schema of an object with exactly these fields."""
    return {
        "type": "object",
        "properties": {field.name: field.schema for field in fields},
        "required": [field.name for field in fields],
        "additionalProperties": False,
    }


def nested(name: str, fields: Sequence[Field]) -> Field:
    """Return a field that is a record of its own."""
    line = " ".join(field.regex for field in fields)
    return Field(name, record(fields), rf"\({line}\)")


def lines(fields: Sequence[Field]) -> str:
    """Return the regular expression of `name: value` lines."""
    return r"\n".join(f"{field.name}: {field.regex}" for field in fields)


def row(fields: Sequence[Field]) -> str:
    """Return the regular expression of one line of a table."""
    return r" \| ".join(field.regex for field in fields)


def element(fields: Sequence[Field]) -> str:
    """Return the regular expression of an XML element."""
    inside = "".join(f"<{field.name}>{field.regex}</{field.name}>" for field in fields)
    return f"<record>{inside}</record>"


LAYOUTS: dict[str, Callable[[Sequence[Field]], str]] = {
    "lines": lines,
    "a table row": row,
    "an XML element": element,
}
"""Ways to write a record as text, by what a prompt calls them."""


def varied(fields: Sequence[Field], random: Random) -> list[Field]:
    """Return two or three of the fields, some as lists, some optional, some inside another."""
    some = random.sample(list(fields), k=min(len(fields), random.choice((2, 3, 3))))
    way = random.choice(("plain", "list", "null", "nested"))
    last = some[-1]
    if way == "list":
        return [*some[:-1], several(last, random.choice((2, 3)))]
    if way == "null":
        return [*some[:-1], maybe(last)]
    return [some[0], nested("details", some[1:])] if way == "nested" else some
