"""JSON schemas as items: one for each field, by its path, whatever the schemas are called.

References are followed and alternatives laid over each other, so that a schema that is only
moved, renamed or split compares equal. `*` stands for each element of a list, and for each
value of a map.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ci.contract.model import Items

Schema = dict[str, Any]
DEPTH = 8
"""Most fields below each other; schemas that hold themselves end there at the latest."""


@dataclass
class _Field:
    types: set[str] = field(default_factory=set)
    enum: set[str] | None = field(default_factory=set)


@dataclass(frozen=True)
class _Form:
    """One of the forms that a field may have, and the named schemas that it lies in."""

    schema: Schema
    above: tuple[str, ...] = ()


class Flattener:
    """Makes items of schemas.

    Args:
        schemas: The document's named schemas.
    """

    def __init__(self, schemas: dict[str, Schema]) -> None:
        self._schemas = schemas
        self._found: Items = {}

    def items(self, name: str, schema: Schema, *, required: bool) -> Items:
        """Return the item `name` for a schema and one for each field below it."""
        self._found = {}
        self._walk(name, [_Form(schema)], required=required)
        return self._found

    def _walk(self, path: str, declared: list[_Form], *, required: bool, depth: int = 0) -> None:
        forms = _once(form for each in declared for form in self._forms(each))
        at = _Field()
        for form in forms:
            _take(at, form.schema)
        defaults = [each.schema["default"] for each in declared if "default" in each.schema]
        self._found[path] = {
            "types": sorted(at.types),
            "enum": sorted(at.enum) if at.enum else None,
            "default": defaults[0] if defaults else None,
            "required": required,
            "deprecated": any(each.schema.get("deprecated") for each in declared),
        }
        if depth < DEPTH:
            self._below(path, forms, depth + 1)

    def _forms(self, form: _Form) -> Iterator[_Form]:
        schema, above = form.schema, form.above
        alternatives = schema.get("anyOf") or schema.get("oneOf")
        if "$ref" in schema:
            name = str(schema["$ref"]).rpartition("/")[2]
            known = {"type": "object"} if name in above else self._schemas.get(name, {})
            yield from self._forms(_Form(known, (*above, name)))
        elif alternatives:
            for each in alternatives:
                yield from self._forms(_Form(each, above))
        elif "allOf" in schema:
            parts = [part for each in schema["allOf"] for part in self._forms(_Form(each, above))]
            yield _Form({k: v for part in parts for k, v in part.schema.items()}, above)
        else:
            yield form

    def _below(self, path: str, forms: list[_Form], depth: int) -> None:
        objects = [form for form in forms if "properties" in form.schema]
        fields: dict[str, list[_Form]] = {}
        for form in objects:
            for name, each in form.schema["properties"].items():
                fields.setdefault(name, []).append(_Form(each, form.above))
        for name, declared in fields.items():
            needed = all(name in form.schema.get("required", ()) for form in objects)
            self._walk(f"{path}.{name}", declared, required=needed, depth=depth)
        elements = [
            _Form(form.schema[key], form.above)
            for form in forms
            for key in ("items", "additionalProperties")
            if isinstance(form.schema.get(key), dict) and form.schema[key]
        ]
        if elements:
            self._walk(f"{path}.*", elements, required=False, depth=depth)


def _once(forms: Iterable[_Form]) -> list[_Form]:
    return list({id(form.schema): form for form in forms}.values())


def _take(at: _Field, schema: Schema) -> None:
    kinds = schema.get("type", "object" if "properties" in schema else "any")
    if "const" in schema and "type" not in schema:
        kinds = "string" if isinstance(schema["const"], str) else "any"
    at.types |= {kinds} if isinstance(kinds, str) else set(kinds)
    values = schema.get("enum", [schema["const"]] if "const" in schema else None)
    if values is None:
        at.enum = at.enum if kinds == "null" else None
    elif at.enum is not None:
        at.enum |= {str(value) for value in values}
