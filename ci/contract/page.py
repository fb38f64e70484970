"""One page on two contracts, in Markdown: what breaks, with both sides, what is new, and notes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from ci.contract.check import Allowance, told
from ci.contract.compare import Compared, ContractChange
from ci.contract.model import Contract
from ci.contract.rules import SETS, ChangeKind
from ci.secrets.veil import beginning

MOST = 100
"""Most lines of one list; a page that nobody reads to its end helps nobody."""
TITLES = {
    "flags": "Launch flags",
    "routes": "HTTP routes",
    "answers": "Answers and error codes",
    "metrics": "Metrics",
    "server_info": "`/server_info`",
    "model_info": "`/model_info`",
    "sampling": "Default sampling",
}
CELL = 160
MANY = 4
"""From how many places on a change of one field is told once."""


def page(
    baseline: Contract, candidate: Contract, compared: Iterable[Compared], allowance: Allowance
) -> str:
    """Return the page."""
    parts = list(compared)
    lines = [
        f"# Contract: {side(baseline)} → {side(candidate)}",
        "",
        "| part | items | broken | accepted | unsure | new | to note |",
        "|---|--:|--:|--:|--:|--:|--:|",
        *(_row(part, allowance) for part in parts),
        "",
    ]
    for part in parts:
        lines += section(part, allowance)
    return "\n".join(lines).rstrip() + "\n"


def side(contract: Contract) -> str:
    """Return what a recording is called."""
    version = f"SGLang {contract.sglang}" if contract.sglang else "unknown version"
    return version if contract.source == contract.sglang else f"{version} ({contract.source})"


def _row(part: Compared, allowance: Allowance) -> str:
    title = TITLES[part.name]
    if part.skipped or part.unsure:
        return f"| {title} | | | | {cell(part.skipped or part.unsure)} | | |"
    broken = part.of(ChangeKind.BROKEN)
    accepted = [change for change in broken if allowance.accepts(change)]
    counts = (len(broken) - len(accepted), len(accepted), len(part.of(ChangeKind.UNSURE)))
    numbers = (part.items, *counts, len(part.of(ChangeKind.NEW)), len(part.of(ChangeKind.NOTICE)))
    return f"| {title} | {' | '.join(map(str, numbers))} |"


def section(part: Compared, allowance: Allowance) -> Iterator[str]:
    """Yield the lines on one part; none where nothing differs."""
    if not part.changes:
        return
    yield f"## {TITLES[part.name]}"
    yield ""
    broken = part.of(ChangeKind.BROKEN) + part.of(ChangeKind.UNSURE)
    if broken:
        yield "| item | baseline | candidate | |"
        yield "|---|---|---|---|"
        yield from most([_broken(change, allowance) for change in broken])
        yield ""
    for kind, title in ((ChangeKind.NEW, "New"), (ChangeKind.NOTICE, "To note")):
        if found := part.of(kind):
            yield f"{title}:"
            yield ""
            yield from most([f"- {line}" for line in gathered(found)])
            yield ""


def _broken(change: ContractChange, allowance: Allowance) -> str:
    words = (allowance.told(change), told(change) if change.facet in SETS else "", change.hint)
    name = f"`{change.item}` {change.facet}".strip()
    missing = "null" if change.facet else "none"
    sides = (change.before, change.after)
    before, after = (missing if each is None else cell(_shown(each)) for each in sides)
    return f"| {name} | {before} | {after} | {cell('; '.join(filter(None, words)))} |"


def most(lines: list[str]) -> Iterator[str]:
    """Yield the first lines, and how many there are beyond them."""
    yield from lines[:MOST]
    if len(lines) > MOST:
        more = f"{len(lines) - MOST} more: see the report"
        yield f"| {more} | | | |" if lines[0].startswith("|") else f"- {more}"


def brief(change: ContractChange) -> str:
    """Return a change that breaks nothing in one line."""
    name = f"`{change.item}` {change.facet}".strip()
    if change.facet == "help":
        return f"{name}: reworded"
    return name if not change.facet else f"{name}: {cell(told(change))}"


def gathered(found: list[ContractChange]) -> Iterator[str]:
    """Yield a line for each change, and one for all that are of the same field in many places."""
    fields: dict[tuple[str, str], list[ContractChange]] = {}
    for change in found:
        place, dot, field = change.item.rpartition(".")
        fields.setdefault((field if dot and place else change.item, change.facet), []).append(
            change
        )
    for (field, _), changes in fields.items():
        if len(changes) < MANY:
            yield from map(brief, changes)
        else:
            yield f"`{field}` in {len(changes)} places, such as {brief(changes[0])}"


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(
            f"{k} {_shown(v)}" for k, v in value.items() if k != "help" and v is not None
        )
    return json.dumps(value, ensure_ascii=False)


def cell(text: str) -> str:
    """Return text as it may stand in a cell of a table, on one line and not endless."""
    line = " ".join(text.split())
    line = line if len(line) <= CELL else f"{beginning(line, CELL)}…"
    return line.replace("|", "\\|").replace("<", "&lt;")
