"""Finds the queries of a document: a dashboard, alerts, rules or a scaler, as JSON or YAML.

Grafana's classic schema (`panels`, `rows`, `templating`) and its second one (`elements`,
`variables`, each with `kind` and `spec`) are walked alike: what counts is what an object holds,
not where it lies.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ci.boards.model import Board, Query
from ci.boards.template import Template, is_template, templates
from ci.boards.variables import name_in

Json = dict[str, Any]
EXPRESSIONS = ("expr", "seriesQuery")
"""Keys whose value is PromQL: of Grafana's targets and of rules; of the Prometheus adapter."""
SERVERS = {"serverAddress", "address"}
"""Keys that stand beside a `query` in KEDA's triggers and in analysis templates."""
PROMETHEUS = ("prometheus", "metrics")
"""Parts of the names of plug-ins that ask a Prometheus, or what speaks its language."""
NO_DATABASE = {"", "datasource", "grafana", "mixed"}
"""What a dashboard names where each query says itself which database it asks."""


@dataclass(frozen=True)
class _Place:
    """An object of the document, where it is for a person, and the plug-in that it asks."""

    one: Json
    where: str
    plugin: str

    @property
    def elsewhere(self) -> bool:
        """Whether it asks no Prometheus, or what it asks isn't in the file."""
        other = self.plugin not in NO_DATABASE and not any(
            part in self.plugin for part in PROMETHEUS
        )
        asks = bool(_texts(self.one)) or is_template(self.one)
        return (other and asks) or ("libraryPanel" in self.one and "targets" not in self.one)


def board_of(name: str, documents: list[Any]) -> Board:
    """Return the board of a file.

    Args:
        name: The file's name.
        documents: What it holds, as JSON or YAML was read.
    """
    known = list(templates(documents))
    plugins = _inputs(documents) | {one.name: one.plugin for one in known if one.plugin}
    places = list(_places(documents, _Place({}, "the file", ""), plugins))
    asked = [query for place in places if not place.elsewhere for query in _queries(place)]
    return Board(
        name,
        tuple(dict.fromkeys(asked)),
        {one.name: one.values for one in known if one.values},
        tuple(dict.fromkeys(place.where for place in places if place.elsewhere)),
        frozenset(one.name for one in known) if _is_dashboard(documents) else None,
    )


def _is_dashboard(documents: list[Any]) -> bool:
    """Return whether a file is a dashboard of Grafana's, of either schema."""
    tops = [one for one in documents if isinstance(one, dict)]
    specs = [one["spec"] for one in tops if isinstance(one.get("spec"), dict)]
    return any({"panels", "rows", "elements"} & one.keys() for one in (*tops, *specs))


def _places(value: Any, above: _Place, plugins: Mapping[str, str]) -> Iterator[_Place]:
    """Yield every object; a variable's parts aren't looked at by themselves."""
    if isinstance(value, list):
        for each in value:
            yield from _places(each, above, plugins)
    elif isinstance(value, dict):
        at = _Place(value, _where(value) or above.where, _plugin(value, plugins) or above.plugin)
        yield at
        for each in () if is_template(value) else value.values():
            yield from _places(each, at, plugins)


def _where(one: Json) -> str:
    """Return what a person calls an object; empty where it has no name of its own."""
    if is_template(one):
        return f"variable {Template.of(one).name}"
    for key, kind in (("record", "rule"), ("alert", "alert")):
        if isinstance(one.get(key), str):
            return f"{kind} {one[key]}"
    title = one.get("title") or one.get("id")
    if title and ("targets" in one or "data" in one or "libraryPanel" in one):
        return f"{'alert' if 'condition' in one else 'panel'} {title}"
    if isinstance(one.get("name"), str) and ("expr" in one or "query" in one):
        return f"annotation {one['name']}"
    named = one.get("metadata")
    if "kind" in one and isinstance(named, dict) and "name" in named:
        return f"{one['kind']} {named['name']}"
    return ""


def _plugin(one: Json, plugins: Mapping[str, str]) -> str:
    """Return the plug-in that an object names; empty where it names none."""
    kind, named = one.get("kind"), one.get("datasource")
    if kind == "DataQuery":
        return str(one.get("group", ""))
    if isinstance(kind, str) and kind.islower() and "spec" in one:
        return kind
    if isinstance(named, dict):
        if isinstance(named.get("type"), str):
            return str(named["type"])
        named = named.get("uid") or named.get("name")
    return plugins.get(name_in(named), "") if isinstance(named, str) else ""


def _inputs(documents: list[Any]) -> dict[str, str]:
    """Return the plug-in of each data source that a shared dashboard leaves open."""
    tops = [one for one in documents if isinstance(one, dict)]
    lists = [one["__inputs"] for one in tops if isinstance(one.get("__inputs"), list)]
    inputs = [one for some in lists for one in some if isinstance(one, dict)]
    return {str(one.get("name")): str(one.get("pluginId", "")) for one in inputs}


def _queries(place: _Place) -> Iterator[Query]:
    if is_template(place.one):
        template = Template.of(place.one)
        for text in template.queries:
            yield Query(place.where, text, variable=True, read=template.labels)
        return
    record, labels = place.one.get("record"), place.one.get("labels")
    recorded = record if isinstance(record, str) else ""
    added = labels.items() if recorded and isinstance(labels, dict) else ()
    pairs = tuple((str(name), str(value)) for name, value in added)
    for text in _texts(place.one):
        yield Query(place.where, text, recorded, pairs)


def _texts(one: Json) -> list[str]:
    keys = (*EXPRESSIONS, "query") if SERVERS & one.keys() else EXPRESSIONS
    found = (one.get(key) for key in keys)
    return [text.strip() for text in found if isinstance(text, str) and text.strip()]
