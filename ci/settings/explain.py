"""Turn a validation error into one line: which source, which key, what is allowed there."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from functools import cache
from typing import Any

from pydantic_core import ErrorDetails

from ci.errors import SettingsError
from ci.settings.model import Settings

_SHOWN = 120
_KINDS = {
    "array": "a list",
    "boolean": "true or false",
    "integer": "a whole number",
    "number": "a number",
    "object": "a table",
    "string": "text",
}


def explain(error: ErrorDetails, sources: Mapping[tuple[str, ...], str]) -> SettingsError:
    """Return the error that names the source, the key and what is allowed."""
    key = tuple(str(part) for part in error["loc"])
    source, shown = _source(key, sources), ".".join(key)
    if error["type"] == "extra_forbidden":
        known = list(_schema(key[:-1]).get("properties", {}))
        close = difflib.get_close_matches(key[-1], known, n=1)
        hint = f"unknown key; did you mean {close[0]!r}?" if close else "unknown key"
        return SettingsError(source, shown, hint, ", ".join(known))
    if error["type"] == "value_error":
        return SettingsError(source, shown, error["msg"].removeprefix("Value error, "))
    problem = f"{quoted(error['input'])} is not allowed"
    return SettingsError(source, shown, problem, _allowed(key, error))


def quoted(value: object) -> str:
    """Return a value as it is shown in a message."""
    try:
        text = repr(value)
    except ValueError:  # a whole number with thousands of digits has none
        return "such a number"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _source(key: tuple[str, ...], sources: Mapping[tuple[str, ...], str]) -> str:
    for length in range(len(key), 0, -1):
        for known, source in sources.items():
            if known[:length] == key[:length]:
                return source
    return "settings"


def _schema(key: tuple[str, ...]) -> dict[str, Any]:
    """Return the JSON schema of the setting at `key`, empty where there is none."""
    root = _root()
    node: dict[str, Any] = root
    for part in (*key, None):
        if "$ref" in node:
            node = root["$defs"][node["$ref"].rpartition("/")[2]]
        if part is None:
            break
        below = node.get("properties", {}).get(part) or node.get("items")
        node = below or node.get("additionalProperties") or {}
    return node


@cache
def _root() -> dict[str, Any]:
    return Settings.model_json_schema()


def _allowed(key: tuple[str, ...], error: ErrorDetails) -> str:
    schema = _schema(key)
    if "enum" in schema:
        return ", ".join(map(str, schema["enum"]))
    if "pattern" in schema:
        return f"text like {schema['pattern']}"
    options = [schema, *schema.get("anyOf", [])]
    if any(option.get("format") == "path" for option in options):
        return "a path"
    kind = _KINDS.get(schema.get("type", ""), "")
    if "maximum" not in schema:
        return kind or error["msg"].removeprefix("Input should be ")
    low = schema.get("minimum", f"above {schema.get('exclusiveMinimum')}")
    return f"{kind} from {low} to {schema['maximum']}"
