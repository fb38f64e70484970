"""The shortest text that a grammar allows: what the fake server says under a constraint."""

from __future__ import annotations

import importlib
import json
import re
from typing import Any

_parser: Any = importlib.import_module("re._parser")


def text_for(sampling: dict[str, Any]) -> str | None:
    """Return a text that the request's grammar allows; None where it has no grammar.

    Raises:
        ValueError: The grammar can't be compiled.
    """
    if schema := sampling.get("json_schema"):
        return json.dumps(_instance(json.loads(schema)))
    if ebnf := sampling.get("ebnf"):
        return _shortest(ebnf_as_regex(ebnf))
    return _shortest(sampling["regex"]) if sampling.get("regex") else None


def ebnf_as_regex(ebnf: str) -> str:
    """Return the regular expression of an EBNF grammar without recursion."""
    rules = dict(line.split(" ::= ", 1) for line in ebnf.strip().splitlines())
    return _expand(rules["root"], rules)


def _expand(body: str, rules: dict[str, str]) -> str:
    if not body.strip():
        raise ValueError("a rule is empty")
    parts = re.findall(r'"((?:\\.|[^"\\])*)"|(\[[^\]]*\])|(\w+)|([|()?*+])', body)
    return "(?:" + "".join(_element(part, rules) for part in parts) + ")"


def _element(part: tuple[str, str, str, str], rules: dict[str, str]) -> str:
    literal, characters, rule, operator = part
    if literal:
        return re.escape(literal.replace('\\"', '"'))
    return characters or operator or _expand(rules[rule], rules)


def _shortest(pattern: str) -> str:
    try:
        return _text(_parser.parse(pattern))
    except re.error as error:
        raise ValueError(f"regex: {error}") from error


def _text(nodes: Any) -> str:
    return "".join(_of(str(kind), value) for kind, value in nodes)


def _of(kind: str, value: Any) -> str:
    if kind == "LITERAL":
        return chr(value)
    if kind == "RANGE":
        return chr(value[0])
    if kind == "IN":
        return _of(str(value[0][0]), value[0][1])
    if kind == "BRANCH":
        return _text(value[1][0])
    if kind == "SUBPATTERN":
        return _text(value[-1])
    if kind == "MAX_REPEAT":
        return _text(value[2]) * int(value[0])
    raise ValueError(f"regex: {kind} is not known")


def _instance(schema: dict[str, Any]) -> Any:
    if "enum" in schema:
        return schema["enum"][0]
    if "anyOf" in schema:
        return _instance(schema["anyOf"][0])
    kinds: dict[str, Any] = {
        "string": _shortest(schema.get("pattern", "a").strip("^$")),
        "integer": schema.get("minimum", 1),
        "boolean": True,
        "array": [_instance(schema["items"])] * schema["minItems"] if "minItems" in schema else [],
    }
    if schema.get("type") == "object":
        return {key: _instance(value) for key, value in schema.get("properties", {}).items()}
    if schema.get("type") not in kinds:
        raise ValueError(f"JSON schema: no type {schema.get('type')!r}")
    return kinds[schema["type"]]
