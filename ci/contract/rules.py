"""Which changes of a facet break what others rely on, and which are only worth knowing."""

from __future__ import annotations

from enum import StrEnum
from typing import Any


class ChangeKind(StrEnum):
    """What a change means for those who rely on the item."""

    BROKEN = "broken"
    UNSURE = "unsure"
    NEW = "new"
    NOTICE = "notice"


COMMENTS = {"help", "deprecated", "same as", "state"}
"""Facets that are worth knowing, and that nothing relies on."""
SETS = {"choices", "types", "enum", "labels"}
TYPES = {"text", "integer", "number"}
"""Types of flags that mean something; any other one is the name of a parser's function."""
UNSEEN = "seen"


def weigh(item: str, facet: str, before: Any, after: Any) -> ChangeKind | None:
    """Return what it means that a facet of `item` was `before` and is `after`; None: nothing."""
    if before == after or (facet == "state" and UNSEEN in {before, after}):
        return None
    if facet in COMMENTS or (facet == "type" and _is_only_parsed(item, before, after)):
        return ChangeKind.NOTICE
    if facet == "required":
        return ChangeKind.BROKEN if after is not is_given(item) else ChangeKind.NEW
    if facet in SETS:
        return _set(item, facet, before, after)
    return ChangeKind.BROKEN


def _is_only_parsed(item: str, before: Any, after: Any) -> bool:
    return item.startswith("-") and not {before, after} <= TYPES


def is_given(item: str) -> bool:
    """Return whether the server gives the item, so that more in it can surprise a client.

    A field of a request that is no longer required is an offer; one of a response that is no
    longer certain is a breach.
    """
    return " response " in item


def _set(item: str, facet: str, before: Any, after: Any) -> ChangeKind | None:
    """Weigh a facet that is a set; none at all means any for values, and unseen for types."""
    if facet == "types" and not (before and after):
        return None
    if before is None or after is None:
        narrower = before is None if not is_given(item) else after is None
        return ChangeKind.BROKEN if narrower else ChangeKind.NEW
    old, new = set(_texts(before)), set(_texts(after))
    if facet == "types" and ("any" in old or "any" in new):
        old, new = old & {"any"}, new & {"any"}
        narrower = bool(new - old) if is_given(item) else bool(old - new)
        return ChangeKind.BROKEN if narrower else ChangeKind.NEW if old != new else None
    if is_given(item) and facet == "types":
        return ChangeKind.BROKEN if new - old else ChangeKind.NEW
    return ChangeKind.BROKEN if old - new else ChangeKind.NEW


def _texts(value: Any) -> list[str]:
    return [str(each) for each in value] if isinstance(value, list) else [str(value)]
