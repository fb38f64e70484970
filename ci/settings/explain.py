"""Turn a validation error into one line: which source, which key, what is allowed there."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from functools import cache
from typing import Any

from pydantic_core import ErrorDetails

from ci.errors import SettingsError
from ci.secrets.veil import VEIL, beginning
from ci.settings.model import Settings

_SHOWN = 120
VEILED = "server.environment"
_CLOSE = 0.75
"""How much of a variable's name has to be a setting's, of 1."""
_KEY = "[key]"
"""How pydantic ends the place of a table's key that is itself not allowed."""
_FORMATS = {"path": "a path", "date": "a date such as 2026-12-31"}
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
    problem, allowed = f"{quoted('.'.join(key), error['input'])} is not allowed", ""
    if error["type"] == "misfit":
        told = error["ctx"]
        key, problem, allowed = (*key, *told["below"]), told["problem"], told["allowed"]
    elif error["type"] == "extra_forbidden":
        problem, allowed = _unknown(key)
    elif error["type"] == "value_error":
        problem = error["msg"].removeprefix("Value error, ")
    elif error["type"] == "missing":
        problem, allowed = "is missing", _allowed(key, error)
    elif key[-1:] == (_KEY,):
        key, pattern = key[:-1], next(iter(_schema(key[:-2])["patternProperties"]))
        allowed = f"a name like {pattern}"
    else:
        allowed = _allowed(key, error)
    return SettingsError(_source(key, sources), ".".join(key), problem, allowed)


def _unknown(key: tuple[str, ...]) -> tuple[str, str]:
    known = list(_schema(key[:-1]).get("properties", {}))
    close = difflib.get_close_matches(key[-1], known, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return f"unknown key{hint}", ", ".join(known)


def nearly(name: str, prefix: str) -> tuple[str, ...]:
    """Return the setting that a variable was meant for, by one `_` too few or small letters.

    Args:
        name: The variable, which is read by no setting.
        prefix: How the names of settings' variables begin.

    Returns:
        The setting's key; empty where the variable is somebody else's.
    """
    words = name.lower().removeprefix(prefix.lower())
    if words == name.lower():
        return ()
    if "__" in words:
        return tuple(words.split("__"))
    for section in _schema(())["properties"]:
        rest = words.removeprefix(f"{section}_")
        if rest != words:
            return _key_of(section, rest)
    return ()


def _key_of(section: str, rest: str) -> tuple[str, ...]:
    """Return the key in a section that words with `_` between them nearly are."""
    known = _schema((section,)).get("properties")
    if known is None:
        return (section, "name", "key")
    for key in known:
        if rest.startswith(f"{key}_") and _schema((section, key)).get("type") == "object":
            return (section, key, rest.removeprefix(f"{key}_"))
    close = difflib.get_close_matches(rest, known, n=1, cutoff=_CLOSE)
    return (section, *close) if close else ()


def quoted(key: str, value: object) -> str:
    """Return a setting's value as it is shown in a message; any of `VEILED` may be a secret."""
    if f"{key}.".startswith(f"{VEILED}."):
        return VEIL
    try:
        text = repr(value)
    except ValueError:  # a whole number with thousands of digits has none
        return "such a number"
    if "PRIVATE KEY" in text:
        return "a private key"
    return text if len(text) <= _SHOWN else f"{beginning(text, _SHOWN)}…"


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
        below = below or next(iter(node.get("patternProperties", {}).values()), None)
        node = below or node.get("additionalProperties") or {}
    return node


@cache
def _root() -> dict[str, Any]:
    return Settings.model_json_schema()


def _allowed(key: tuple[str, ...], error: ErrorDetails) -> str:
    schema = _schema(key)
    options = [schema, *schema.get("anyOf", [])]
    formats = {option.get("format") for option in options} & set(_FORMATS)
    if "enum" in schema:
        return ", ".join(map(str, schema["enum"]))
    if "pattern" in schema:
        return f"text like {schema['pattern']}"
    if formats:
        return _FORMATS[formats.pop()]
    kind = _KINDS.get(schema.get("type", ""), "")
    return _within(kind, schema) if kind else error["msg"].removeprefix("Input should be ")


def _within(kind: str, schema: dict[str, Any]) -> str:
    if "minItems" in schema:
        return f"{kind} of at least {schema['minItems']}"
    if "maximum" not in schema:
        return kind
    low = schema.get("minimum", f"above {schema.get('exclusiveMinimum')}")
    return f"{kind} from {low} to {schema['maximum']}"
