"""What a server says of itself: the keys of `/server_info` and `/model_info`, and its sampling."""

from __future__ import annotations

from ci.contract.model import ContractPart, Items
from ci.contract.shape import shape
from ci.server.documents import document
from ci.server.exchange import Exchange, Json

NOT_FOUND = 404
NATIVE = {"text": "Hello", "sampling_params": {"ignore_eos": True}}
"""Leaves open how much is generated; SGLang's own default ends it."""
DEPTH = 4


async def info(exchange: Exchange, path: str) -> Json | None:
    """Return a page of the server's own; None where it has none.

    Raises:
        BadAnswer: It is neither a JSON object nor 404.
        KeyRefused: The server wants another API key.
    """
    answer = await exchange.ask("GET", path)
    return None if answer.status == NOT_FOUND else exchange.object_of(path, answer)


def info_part(found: Json | None, path: str) -> ContractPart:
    """Return the keys of a page, with the types of their values."""
    if found is None:
        return ContractPart(absent=f"the server has no {path}")
    items: Items = {}
    for key, value in found.items():
        items |= shape(key, value, depth=DEPTH)
    return ContractPart(items=items)


async def sampling_items(exchange: Exchange, server: Json | None, model: Json | None) -> Items:
    """Return what decides how is sampled where a request leaves it open.

    Some of it the server says; how much it generates is seen by leaving it open once.
    """
    items: Items = {}
    for page, key in ((server, "sampling_defaults"), (model, "preferred_sampling_params")):
        if page is not None and key in page:
            items[f"server {key}"] = {"default": page[key]}
    answer = await exchange.ask("POST", "/generate", NATIVE)
    try:
        tokens = document(answer.body)["meta_info"]["completion_tokens"]
    except (ValueError, KeyError, TypeError):
        return items
    return items | {"/generate tokens without a limit": {"default": tokens}}
