"""Grafana's template variables: which values a file names for one, and what it asks for them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]
KINDS = ("query", "custom", "constant", "textbox", "interval", "datasource", "adhoc", "groupby")
"""Types of the classic schema; the second one says `QueryVariable` and the like."""
SECOND = {f"{kind}variable": kind for kind in KINDS} | {"textvariable": "textbox"}
ALL = "$__all"
LABEL_READ = re.compile(r'(\w+)=\\?"')
"""How a variable's regular expression reads a label of a series that is written as text."""


def is_template(one: Json) -> bool:
    """Return whether an object of a dashboard is a variable."""
    if _second(one):
        return isinstance(one.get("spec"), dict)
    told = {"query", "current", "options"} & one.keys()
    return bool(told) and "name" in one and one.get("type") in KINDS


def templates(value: Any) -> Iterator[Template]:
    """Yield the variables of a document, wherever they lie."""
    if isinstance(value, dict) and is_template(value):
        yield Template.of(value)
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from templates(each)


@dataclass(frozen=True)
class Template:
    """A variable.

    Args:
        name: Its name.
        plugin: The plug-in of the data sources that it stands for; empty for any other kind.
        values: Values that the file names; none where they are asked for when it is opened.
        queries: What is asked for its values.
        labels: Labels that its regular expression reads from a series.
    """

    name: str
    plugin: str = ""
    values: tuple[str, ...] = ()
    queries: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()

    @classmethod
    def of(cls, one: Json) -> Template:
        """Return the variable of an object, of either schema."""
        kind = _second(one) or str(one.get("type"))
        spec: Json = one["spec"] if _second(one) else one
        name, query = str(spec.get("name")), _query(spec.get("query") or spec.get("definition"))
        if kind == "datasource":
            return cls(name, plugin=str(spec.get("pluginId") or query))
        if kind == "query":
            labels = tuple(LABEL_READ.findall(str(spec.get("regex") or "")))
            return cls(name, "", _current(spec), (query,) if query else (), labels)
        return cls(name, "", _listed(spec, query) or _current(spec))


def _second(one: Json) -> str:
    """Return the type of a variable of the second schema; empty for anything else."""
    return SECOND.get(str(one.get("kind", "")).lower(), "")


def _query(value: Any) -> str:
    """Return the text of a query, which may lie in an object of its editor or of its plug-in."""
    if isinstance(value, dict):
        return _query(value.get("query") or value.get("spec"))
    return value.strip() if isinstance(value, str) else ""


def _current(spec: Json) -> tuple[str, ...]:
    """Return the values that are chosen."""
    current = spec.get("current")
    chosen = current.get("value") if isinstance(current, dict) else None
    return _named(chosen if isinstance(chosen, list) else [chosen])


def _listed(spec: Json, query: str) -> tuple[str, ...]:
    """Return the values that are listed; one may be written `name : value`."""
    options = spec.get("options")
    some = options if isinstance(options, list) else []
    written = [one.rpartition(" : ")[2].strip() for one in query.split(",")]
    return _named(one.get("value") for one in some if isinstance(one, dict)) or _named(written)


def _named(values: Iterable[Any]) -> tuple[str, ...]:
    return tuple(str(one) for one in values if one not in (None, "", ALL))
