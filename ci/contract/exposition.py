"""Reads what a server exposes for Prometheus: families with their type and label names.

Both text formats are read. The names are those of the samples, since they are what a query
finds: SGLang's own line on a type may be spelled otherwise than its samples.
Format: Prometheus exposition formats, text 0.0.4, and OpenMetrics 1.0.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ci.server.exposition import samples, types

PARTS = {
    "histogram": ("_bucket", "_count", "_sum", "_created"),
    "summary": ("_count", "_sum", "_created"),
    "counter": ("_total", "_created"),
    "info": ("_info",),
}
"""What a type's samples add to the name of their family; a counter's total is its own name."""
STRUCTURAL = {"le", "quantile"}


@dataclass(frozen=True)
class Family:
    """The samples that belong together.

    Args:
        name: As a query names it; of a histogram without the endings of its samples.
        type: gauge, counter, histogram, …; `untyped` where no line says it.
        labels: Names of all labels that its samples have; None where it has no sample.
    """

    name: str
    type: str
    labels: frozenset[str] | None


def families(text: str) -> dict[str, Family]:
    """Return name to family."""
    kinds = {_plain(name): kind for name, kind in types(text).items()}
    labels: dict[str, set[str]] = {}
    for sample in samples(text):
        labels.setdefault(sample.name, set()).update(sample.labels)
    grouped: dict[str, tuple[str, set[str]]] = {}
    for name, names in labels.items():
        family, kind = _family(name, kinds)
        if family:
            grouped.setdefault(family, (kind, set()))[1].update(names)
    return {
        name: Family(name, kind, frozenset(found - STRUCTURAL))
        for name, (kind, found) in grouped.items()
    }


def _family(sample: str, kinds: dict[str, str]) -> tuple[str, str]:
    """Return the family's name and type; no name for a time of creation, which is none."""
    if _plain(sample) in kinds:
        return sample, kinds[_plain(sample)]
    for kind, endings in PARTS.items():
        for ending in endings:
            stem = sample.removesuffix(ending)
            if stem != sample and kinds.get(_plain(stem)) == kind:
                if ending == "_created":
                    return "", kind
                return (sample if kind in {"counter", "info"} else stem), kind
    return ("", "") if sample.endswith("_created") else (sample, "untyped")


def _plain(name: str) -> str:
    """Return a name as all of its spellings share it."""
    return re.sub(r"[^a-zA-Z0-9_]", "_", name)
