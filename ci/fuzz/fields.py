"""Every field of a request, as an OpenAPI document describes it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from ci.fuzz.bodies import inner

Schema = Mapping[str, Any]
DEPTH = 6
"""How deep a field may lie: messages[].content[].image_url is at the fifth level."""
SWITCHING = {"return", "use", "enable", "include"}
"""Words of a switch's name that say nothing about what it switches on."""


@dataclass(frozen=True)
class RequestField:
    """One place in a request.

    Args:
        name: Where it is, such as `messages[].content`.
        schema: What may stand there.
        put: Makes a whole body of a value that stands there.
        depth: How many levels lie above it.
    """

    name: str
    schema: Schema
    put: Callable[[Any], Any]
    depth: int = 0


class DescribedApi:
    """An OpenAPI document, read for the fields of its requests.

    Args:
        document: The document.
    """

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.document = document

    def resolved(self, schema: Any) -> Schema:
        """Return a schema in place of a reference to it."""
        while isinstance(schema, dict) and "$ref" in schema:
            found: Any = self.document
            for step in str(schema["$ref"]).removeprefix("#/").split("/"):
                found = found.get(step) if isinstance(found, dict) else None
            schema = found
        return schema if isinstance(schema, dict) else {}

    def variants(self, schema: Any) -> Iterator[Schema]:
        """Yield the plain schemas that a schema offers to choose from."""
        at = self.resolved(schema)
        offered = [*at.get("anyOf", ()), *at.get("oneOf", ()), *at.get("allOf", ())]
        for one in offered:
            yield from self.variants(one)
        if not offered:
            types = at.get("type")
            yield from ({**at, "type": one} for one in types) if isinstance(types, list) else (at,)

    def least(self, schema: Any) -> Any:
        """Return the smallest value that a schema allows."""
        at = min(self.variants(schema), key=lambda one: one.get("type") in {"object", "array"})
        kind = str(at.get("type"))
        if "const" in at or at.get("enum"):
            return at["const"] if "const" in at else at["enum"][0]
        if kind == "object":
            properties = at.get("properties", {})
            return {name: self.least(properties.get(name)) for name in at.get("required", ())}
        if kind == "array":
            return [self.least(at.get("items"))] * int(at.get("minItems", 0))
        plain = {"integer": 1, "number": 1, "boolean": False, "null": None}
        return at.get("minimum", plain.get(kind, "a"))

    def fields(self, path: str, schema: Any, base: Mapping[str, Any]) -> Iterator[RequestField]:
        """Yield every field of a body, each once.

        Args:
            path: The operation's path.
            schema: The body's schema.
            base: The least body that does something.
        """
        seen: set[str] = set()
        root = RequestField("", {}, lambda value: value, -1)
        for one in self.variants(schema):
            for field in self._of_object(one, root, base):
                yield from self._with_inner(path, field, seen)

    def _with_inner(self, path: str, field: RequestField, seen: set[str]) -> Iterator[RequestField]:
        """Yield a field that wasn't seen yet, and those within it."""
        known = f"{field.name} {json.dumps(field.schema)}"
        if known in seen or field.depth >= DEPTH:
            return
        seen.add(known)
        yield field
        for one in (*self.variants(field.schema), *inner(path, field.name)):
            for within in self._within(self.resolved(one), field):
                yield from self._with_inner(path, within, seen)

    def _within(self, schema: Schema, at: RequestField) -> Iterator[RequestField]:
        if schema.get("type") == "array":
            put = partial(_item, at.put)
            yield RequestField(f"{at.name}[]", schema.get("items", {}), put, at.depth + 1)
        elif schema.get("properties"):
            yield from self._of_object(schema, at, self.least(schema))

    def _of_object(
        self, schema: Schema, at: RequestField, base: Mapping[str, Any]
    ) -> Iterator[RequestField]:
        """Yield the fields of an object, and each once more with what switches it on."""
        properties = schema.get("properties", {})
        before = f"{at.name}." if at.name else ""
        for key, below in properties.items():
            name, depth = f"{before}{key}", at.depth + 1
            yield RequestField(name, below, partial(_member, at.put, base, key), depth)
            for switch in self._switches(key, properties):
                put = partial(_member, at.put, {**base, switch: True}, key)
                yield RequestField(f"{name} with {switch}", below, put, depth)

    def _switches(self, name: str, properties: Mapping[str, Any]) -> Iterator[str]:
        """Yield the flags without which a field means nothing, going by their names."""
        for flag, schema in properties.items():
            words = _words(flag) - SWITCHING
            boolean = any(one.get("type") == "boolean" for one in self.variants(schema))
            if flag != name and boolean and words and words <= _words(name):
                yield flag


def _words(name: str) -> set[str]:
    return {word.removesuffix("s") for word in name.split("_")}


def _member(put: Callable[[Any], Any], base: Mapping[str, Any], key: str, value: Any) -> Any:
    return put({**base, key: value})


def _item(put: Callable[[Any], Any], value: Any) -> Any:
    return put([value])
