"""What dashboards and alerts ask of the metrics, held against what the new version exposes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ci.contract.compare import closest
from ci.contract.metrics import ASKERS
from ci.contract.model import Facets, Items, Part
from ci.errors import UsageError
from ci.report.model import Case
from ci.verdict import Outcome

QUERIES = {"expr", "query", "definition"}
"""Keys of a Grafana dashboard whose values are queries."""
NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
SELECTOR = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)\s*\{([^}]*)\}")
LABEL = re.compile(r"([a-zA-Z_]\w*)\s*(?:=~|!~|!=|=)")
TEXT = re.compile(r'"(?:[^"\\]|\\.)*"')
ENDINGS = ("_bucket", "_sum", "_count")
OURS = re.compile(r"sglang[:_]")
"""How a metric of SGLang's begins, whoever asks."""


@dataclass(frozen=True)
class Board:
    """A file of queries."""

    name: str
    queries: tuple[str, ...]


def read(path: Path) -> Board:
    """Read a Grafana dashboard (JSON), or a list of PromQL expressions, one a line.

    Raises:
        UsageError: It can't be read, or holds no query.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        found = list(_queries(json.loads(text))) if path.suffix == ".json" else text.splitlines()
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: no dashboard: {error}") from error
    queries = tuple(line.strip() for line in found if line.strip() and line.strip()[0] != "#")
    if not queries:
        raise UsageError(f"{path}: no dashboard: it holds no query")
    return Board(path.name, queries)


def _queries(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, each in value.items():
            if key in QUERIES and isinstance(each, str):
                yield each
            else:
                yield from _queries(each)
    elif isinstance(value, list):
        for each in value:
            yield from _queries(each)


def cases(board: Board, old: Part, new: Part) -> Iterator[Case]:
    """Yield a case for each metric of SGLang's that a board asks for.

    Args:
        board: The board.
        old: The old version's metrics.
        new: The new version's.
    """
    if old.unknown or new.unknown:
        why = old.unknown or new.unknown
        yield Case(name=board.name, outcome=Outcome.INCONCLUSIVE, message=why)
        return
    before, after = _spellings(old.items), _spellings(new.items)
    used = _used(board, set(before) | set(after))
    for name, labels in used.items():
        message = _problem(name, labels, (before, after), (old.items, new.items))
        unknown = name not in before and name not in after
        bad = Outcome.INCONCLUSIVE if unknown else Outcome.FAILED
        outcome = bad if message else Outcome.PASSED
        yield Case(name=f"{board.name}: {name}", outcome=outcome, message=message)
    if not used:
        why = "it asks for no metric of SGLang's"
        yield Case(name=board.name, outcome=Outcome.SKIPPED, message=why)


def _used(board: Board, known: set[str]) -> dict[str, set[str]]:
    """Return the names that a board asks for, with the labels by which it selects."""
    used: dict[str, set[str]] = {}
    for query in board.queries:
        for name in NAME.findall(TEXT.sub('""', query)):
            if name in known or OURS.match(name):
                used.setdefault(name, set())
        for name, labels in SELECTOR.findall(query):
            if name in used:
                used[name] |= set(LABEL.findall(TEXT.sub('""', labels)))
    return used


def _problem(
    name: str,
    labels: set[str],
    spellings: tuple[dict[str, str], dict[str, str]],
    items: tuple[Items, Items],
) -> str:
    before, after = spellings
    if name in after:
        found = list(items[1][after[name]].get("labels", ()))
        had = items[0].get(before.get(name, ""), {}).get("labels", found)
        lost = sorted(label for label in labels if label in had and label not in found)
        return f"without the label {', '.join(lost)}" if lost else ""
    if name not in before:
        return "neither version exposed it in what was seen"
    facets: Facets = items[0][before[name]]
    more = {item: each for item, each in items[1].items() if item not in items[0]}
    renamed = closest(before[name], facets, more)
    return f"gone{f'; perhaps renamed to {renamed}' if renamed else ''}"


def _spellings(items: Items) -> dict[str, str]:
    """Return each name that a query may use, for any asker, to its metric."""
    found = {}
    for item, facets in items.items():
        names = {item} | {str(facets.get(f"name for {asker}", item)) for asker in ASKERS}
        for name in names:
            found[name] = item
            if facets.get("type") in {"histogram", "summary"}:
                found |= {f"{name}{ending}": item for ending in ENDINGS}
    return found
