"""The shape of a JSON answer: one item for each field, with the types that were seen there."""

from __future__ import annotations

from typing import Any

from ci.contract.model import Items
from ci.secrets.veil import beginning
from ci.server.documents import document
from ci.server.events import DONE, Events, is_done

CODES = {"object", "type", "code", "param"}
"""Fields whose very value a client decides by; all others differ from answer to answer."""
DEPTH = 6
LONGEST_VALUE = 60


def shape(name: str, value: Any, *, codes: bool = False, depth: int = DEPTH) -> Items:
    """Return an item for `value` and for each field below it.

    Elements of a list are laid over each other as `*`. A field that is null has no type here:
    it may be of any. Whole numbers and others are one type, since a 0 tells nothing.

    Args:
        name: The item of `value` itself.
        value: What JSON was read as.
        codes: Whether the values of fields that say what happened are part of the shape.
        depth: How many fields below each other are looked at.
    """
    items: Items = {name: {"types": _types(value)}}
    if depth == 0:
        return items
    if isinstance(value, list):
        for each in value:
            _lay(items, shape(f"{name}.*", each, codes=codes, depth=depth - 1))
    elif isinstance(value, dict):
        for field, each in value.items():
            items |= shape(f"{name}.{field}", each, codes=codes, depth=depth - 1)
            if codes and field in CODES and isinstance(each, str | int | None):
                items[f"{name}.{field}"]["value"] = beginning(str(each), LONGEST_VALUE)
    return items


def body_shape(name: str, text: str, kind: str) -> Items:
    """Return the items of an answer's body: JSON, server-sent events, or text."""
    if kind == "text/event-stream":
        events = Events().feed(text.encode())
        whole = bool(events) and is_done(events[-1])
        found: Items = {f"{name} ends": {"value": DONE.decode() if whole else "no [DONE]"}}
        for event in events[: -1 if whole else None]:
            _lay(found, body_shape(f"{name} event", event.decode(), "application/json"))
        return found
    try:
        return shape(name, document(text), codes=True)
    except ValueError:
        return {name: {"types": ["text"] if text else ["nothing"]}}


def _lay(items: Items, more: Items) -> None:
    """Lay the items of one more element over those of the elements before it."""
    for name, facets in more.items():
        known = items.setdefault(name, facets)
        known["types"] = sorted({*_listed(known), *_listed(facets)})


def _listed(facets: dict[str, Any]) -> list[str]:
    return list(facets.get("types", ()))


def _types(value: Any) -> list[Any]:
    if value is None:
        return []
    if isinstance(value, bool):
        return ["boolean"]
    for kind, name in ((int | float, "number"), (str, "string"), (list, "array")):
        if isinstance(value, kind):
            return [name]
    return ["object"]
