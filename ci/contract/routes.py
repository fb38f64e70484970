"""A server's HTTP routes with their requests and responses, from its OpenAPI document."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ci.contract.model import ContractPart, Items
from ci.contract.schema import Flattener, Schema

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
SAMPLING_ROUTES = ("/v1/chat/completions", "/v1/completions")
SAMPLING = {
    *("temperature", "top_p", "top_k", "min_p", "n", "max_tokens", "max_completion_tokens"),
    *("min_tokens", "repetition_penalty", "presence_penalty", "frequency_penalty"),
    *("ignore_eos", "skip_special_tokens", "stream", "echo", "best_of", "seed"),
}
"""Fields of the OpenAI-compatible routes whose defaults decide what is generated."""


def routes_part(document: dict[str, Any]) -> ContractPart:
    """Return every route, and each field of what it takes and gives."""
    flattener = Flattener(document.get("components", {}).get("schemas", {}))
    items: Items = {}
    for path, operations in document.get("paths", {}).items():
        for method in METHODS:
            if method in operations:
                items |= _route(f"{method.upper()} {path}", operations[method], flattener)
    return ContractPart(items=items)


def _route(name: str, operation: dict[str, Any], flattener: Flattener) -> Items:
    items: Items = {name: {"deprecated": bool(operation.get("deprecated"))}}
    for each in operation.get("parameters", ()):
        field = f"{name} {each['in']} {each['name']}"
        items |= flattener.items(field, each.get("schema", {}), required=bool(each.get("required")))
    body = operation.get("requestBody", {})
    for where, schema in _contents(body):
        needed = bool(body.get("required"))
        items |= flattener.items(f"{name} request{where}", schema, required=needed)
    for status, response in operation.get("responses", {}).items():
        items[f"{name} response {status}"] = {}
        for where, schema in _contents(response):
            items |= flattener.items(f"{name} response {status}{where}", schema, required=True)
    return items


def _contents(body: dict[str, Any]) -> Iterator[tuple[str, Schema]]:
    for kind, content in body.get("content", {}).items():
        yield "" if kind == "application/json" else f" ({kind})", content.get("schema", {})


def sampling_items(routes: ContractPart) -> Items:
    """Return the defaults of sampling that the schemas of requests declare."""
    found: Items = {}
    for route in SAMPLING_ROUTES:
        for name in sorted(SAMPLING):
            field = routes.items.get(f"POST {route} request.{name}")
            if field is not None:
                found[f"{route} {name}"] = {"default": field.get("default")}
    return found
