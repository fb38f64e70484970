"""Which operations of a server are asked."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ci.errors import BadAnswer
from ci.server.exchange import Exchange

SCHEMA = "/openapi.json"
METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")


@dataclass(frozen=True)
class Operations:
    """Operations as `POST /generate`, in the schema's order.

    Args:
        asked: Those that are asked.
        left_out: The others.
    """

    asked: tuple[str, ...]
    left_out: tuple[str, ...]


async def schema_of(exchange: Exchange) -> Mapping[str, Any]:
    """Return the OpenAPI document of a server.

    Raises:
        AnswerFault: It gives none.
        KeyRefused: It wants another API key.
    """
    try:
        found = await exchange.get(SCHEMA)
    except BadAnswer as error:
        raise BadAnswer(error.url, f"no OpenAPI document: {error.problem}") from error
    if not isinstance(found.get("paths"), dict):
        raise BadAnswer(f"{exchange.url}{SCHEMA}", "no OpenAPI document: it has no paths")
    return found


def choose(
    document: Mapping[str, Any], include: Sequence[str], exclude: Sequence[str]
) -> Operations:
    """Return the operations that match one of `include` as a whole, and none of `exclude`."""
    found = [
        f"{method.upper()} {path}"
        for path, item in document["paths"].items()
        if isinstance(item, dict)
        for method in METHODS
        if method in item
    ]
    asked = [one for one in found if _any(include, one) and not _any(exclude, one)]
    return Operations(tuple(asked), tuple(one for one in found if one not in asked))


def _any(patterns: Sequence[str], operation: str) -> bool:
    return any(re.fullmatch(pattern, operation) for pattern in patterns)
