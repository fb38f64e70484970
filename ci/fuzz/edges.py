"""Requests that are right but for one field, which is at the edge of what it may hold, or beyond.

A whole request that is drawn from a schema with seventy fields rarely has the one number that
breaks a server; and where it has, it is refused for another field.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from ci.fuzz import encode
from ci.fuzz.bodies import ESSENTIAL, alone, limited
from ci.fuzz.drawn import DrawnRequest, RequestKind, Wanted
from ci.fuzz.fields import DescribedApi, Schema
from ci.fuzz.values import comparable, text_of, values

SHALLOW = 1
"""Fields at this level and above are all asked before any that lies deeper."""
DEEP = 5
"""One in so many requests may be of a deeper field: there are thousands."""
TWIN = 10
"""Of an operation whose body is like that of one before it, one in so many is asked."""
_FREE = {"type", "title", "description", "default", "examples"}
"""What a schema of any text whatever may say."""


@dataclass(frozen=True)
class _Parameter:
    """A parameter of the path or the query."""

    name: str
    within: str
    needed: bool
    schema: Schema


@dataclass(frozen=True)
class _Request:
    """One request in its parts.

    Args:
        field: The one field that isn't as usual; empty for none.
        depth: How deep it lies.
        allowed: Whether the schema allows it.
        given: Values of the parameters of path and query.
        body: The body, before it is encoded; None for none.
    """

    field: str
    depth: int
    allowed: bool
    given: Mapping[str, Any]
    body: Any


class Edges:
    """The requests of one operation that have one field at an edge.

    Args:
        document: The OpenAPI document.
        label: The operation's method and path.
        wanted: What is to be drawn.
    """

    def __init__(self, document: Mapping[str, Any], label: str, wanted: Wanted) -> None:
        self._label, self._wanted, self._document = label, wanted, document
        self._described = DescribedApi(document)
        self._method, _, self._path = label.partition(" ")
        self._item = document["paths"][self._path]
        self._operation = self._item[self._method.lower()]

    def of(self, kind: RequestKind) -> list[DrawnRequest]:
        """Return the requests of a kind: those of shallow fields first, otherwise by the seed."""
        found = [one for one in self._all if one.allowed is (kind is RequestKind.VALID)]
        by_seed = random.Random(f"{self._wanted.seed} {self._label} {kind}")  # noqa: S311
        by_seed.shuffle(found)
        most = math.ceil(self._wanted.edges / (TWIN if self._has_twin else 1))
        chosen = [one for one in found if one.depth <= SHALLOW][:most]
        room = min(most - len(chosen), most // DEEP)
        chosen += [one for one in found if one.depth > SHALLOW][:room]
        return [self._drawn(one, kind) for one in chosen]

    @property
    def _has_twin(self) -> bool:
        """Whether an operation that was drawn before takes the same body."""
        before = self._wanted.operations[: self._wanted.operations.index(self._label)]
        others = (Edges(self._document, one, self._wanted) for one in before)
        return bool(self._schema) and any(one._schema == self._schema for one in others)  # noqa: SLF001

    @cached_property
    def _all(self) -> list[_Request]:
        """Each request, once."""
        found: dict[str, _Request] = {}
        for one in (self._usual, *self._of_parameters(), *self._of_body()):
            found.setdefault(text_of([one.given, one.body]), one)
        return list(found.values())

    @cached_property
    def _usual(self) -> _Request:
        """The least request that does something."""
        least = self._described.least
        given = {one.name: least(one.schema) for one in self._parameters if one.needed}
        body = least(self._schema) if self._kind else None
        if isinstance(body, dict):
            body = self._limited(body | ESSENTIAL.get(self._path, {}))
        return _Request("", 0, allowed=True, given=given, body=body)

    def _of_parameters(self) -> Iterator[_Request]:
        usual = self._usual
        for one in self._parameters:
            allows = self._allowing(one.schema, as_text=True)
            for value in values(self._described, one.schema):
                if value != "" or one.within == "query":  # an empty name is another path
                    given = {**usual.given, one.name: value}
                    yield replace(usual, field=one.name, given=given, allowed=allows(value))
            if one.needed and one.within == "query":
                given = _without(usual.given, one.name)
                yield replace(usual, field=one.name, given=given, allowed=False)

    def _of_body(self) -> Iterator[_Request]:
        usual, base = self._usual, self._usual.body
        if not isinstance(base, dict):
            return
        for name in self._described.resolved(self._schema).get("required", ()):
            yield replace(usual, field=name, body=_without(base, name), allowed=False)
        allows = self._allowing(self._schema)
        for at in self._described.fields(self._path, self._schema, base):
            part = self._allowing(at.schema, as_text=True) if self._kind == encode.FORM else None
            for value in values(self._described, at.schema, listed=at.name.endswith("[]")):
                body = self._limited(alone(at.put(value), at.name))
                allowed = part(value) if part else allows(body)
                yield replace(usual, field=at.name, depth=at.depth, body=body, allowed=allowed)

    def _limited(self, body: Any) -> Any:
        return limited(body, self._wanted.output_tokens, self._path)

    def _allowing(self, schema: Schema, *, as_text: bool = False) -> Callable[[Any], bool]:
        """Return what says whether a schema allows a value, which may be sent as text."""
        import jsonschema_rs

        whole = {**schema, "components": self._document.get("components", {})}
        validator = jsonschema_rs.Draft202012Validator(whole)
        offered = self._described.variants(schema)
        any_text = as_text and any(
            one.keys() <= _FREE and one.get("type", "string") == "string" for one in offered
        )
        return lambda value: any_text or validator.is_valid(comparable(text_of(value)))

    @cached_property
    def _parameters(self) -> list[_Parameter]:
        listed = [*self._item.get("parameters", ()), *self._operation.get("parameters", ())]
        found = map(self._described.resolved, listed)
        return [
            _Parameter(one["name"], one["in"], one.get("required", False), one.get("schema", {}))
            for one in found
            if one.get("in") in {"path", "query"}
        ]

    @cached_property
    def _kind(self) -> str:
        """The media type of the body; empty where there is none that can be written here."""
        content = self._described.resolved(self._operation.get("requestBody")).get("content", {})
        return next((one for one in (encode.JSON, encode.FORM) if one in content), "")

    @cached_property
    def _schema(self) -> Schema:
        body = self._described.resolved(self._operation.get("requestBody"))
        return body["content"][self._kind].get("schema", {}) if self._kind else {}

    def _drawn(self, one: _Request, kind: RequestKind) -> DrawnRequest:
        body, headers = encode.body(one.body, self._kind)
        target, text = encode.target(self._path, one.given), body.decode("latin-1")
        return DrawnRequest(self._label, kind, self._method, target, headers, text, one.field)


def _without(values: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {one: value for one, value in values.items() if one != name}
