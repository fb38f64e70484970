"""What a file of cases covers, and what was dropped on the way: as data, and as one page."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from pydantic import BaseModel, ConfigDict

from ci.cases.model import GeneratedCase, Provenance
from ci.cases.program import Gen, flat
from ci.cases.sift import Sifted
from ci.secrets.veil import beginning

MOST = 100
"""Most dropped candidates that are told one by one."""
CONSTRUCTS = {
    "alternatives": r"\|",
    "class": r"\[",
    "counted repeat": r"\{\d+(,\d+)?\}",
    "group": r"(?<!\\)\(",
    "escape": r"\\",
}
"""Constructs of regular expressions, each by what it looks like."""


class DroppedOne(BaseModel):
    """A candidate that was dropped."""

    name: str
    why: str
    told: str


class Coverage(BaseModel):
    """What is covered; counts are cases."""

    model_config = ConfigDict(frozen=True)

    provenance: Provenance
    cases: int
    cells: dict[str, dict[str, int]]
    properties: dict[str, int]
    schema_keywords: dict[str, int]
    regex_constructs: dict[str, int]
    dropped: dict[str, int]
    dropped_cases: tuple[DroppedOne, ...]


def coverage(sifted: Sifted, provenance: Provenance) -> Coverage:
    """Return what the kept cases cover."""
    kept = sifted.kept
    return Coverage(
        provenance=provenance,
        cases=len(kept),
        cells={
            topic: {
                capability: sum((one.topic, one.capability) == (topic, capability) for one in kept)
                for capability in provenance.capabilities
            }
            for topic in provenance.topics
        },
        properties=_counted({one.holds for one in case.properties} for case in kept),
        schema_keywords=_counted(set(_keywords(case)) for case in kept),
        regex_constructs=_counted(set(_constructs(case)) for case in kept),
        dropped=dict(sorted(Counter(one.why.value for one in sifted.dropped).items())),
        dropped_cases=tuple(
            DroppedOne(name=one.case.name, why=one.why.value, told=one.told)
            for one in sifted.dropped
            if one.told
        ),
    )


def page(found: Coverage) -> str:
    """Return the page, in Markdown."""
    by, capabilities = found.provenance, found.provenance.capabilities
    lines = [
        f"# Generated cases: {found.cases} of {by.count} asked for",
        "",
        f"Seed {by.seed}, generator {by.generator}; tried on {by.model}, SGLang {by.server}, "
        f"with the language of SGLang {by.language}"
        + ("; answers are recorded." if by.recorded else "."),
        "",
        f"| topic | {' | '.join(capabilities)} |",
        f"|---|{'--:|' * len(capabilities)}",
        *(_row(topic, counts.values()) for topic, counts in found.cells.items()),
        *_table("Properties", found.properties),
        *_table("JSON schema keywords", found.schema_keywords),
        *_table("Regular expressions", found.regex_constructs),
        *_table("Dropped", found.dropped),
        *_dropped(found),
    ]
    return "\n".join(lines) + "\n"


def _row(name: str, counts: Iterable[int]) -> str:
    return f"| {name} | {' | '.join(str(count) for count in counts)} |"


def _table(title: str, counts: dict[str, int]) -> list[str]:
    if not counts:
        return []
    rows = [_row(name, [count]) for name, count in counts.items()]
    return ["", f"## {title}", "", "| | cases |", "|---|--:|", *rows]


def _dropped(found: Coverage) -> Iterator[str]:
    if found.dropped_cases:
        yield ""
    for one in found.dropped_cases[:MOST]:
        told = beginning(one.told, 300).replace("`", "'")
        yield f"- {one.name}: {one.why}: `{told}`"
    if len(found.dropped_cases) > MOST:
        yield f"- and {len(found.dropped_cases) - MOST} more, in `coverage.json`"


def _counted(sets: Iterable[set[str]]) -> dict[str, int]:
    return dict(sorted(Counter(one for some in sets for one in some).items()))


def _gens(case: GeneratedCase) -> Iterator[Gen]:
    return (step for step in flat(case.program) if isinstance(step, Gen))


def _keywords(case: GeneratedCase) -> Iterator[str]:
    for step in _gens(case):
        if step.json_schema is not None:
            yield from _words(step.json_schema)


def _words(schema: Any) -> Iterator[str]:
    """Yield a schema's keywords; the names of properties are none."""
    if isinstance(schema, list):
        for one in schema:
            yield from _words(one)
    elif isinstance(schema, dict):
        for word, value in schema.items():
            yield f"type: {value}" if word == "type" else word
            below = list(value.values()) if word == "properties" else value
            yield from _words(below if word != "enum" else None)


def _constructs(case: GeneratedCase) -> Iterator[str]:
    shapes = [step.regex for step in _gens(case) if step.regex is not None]
    for name, looks in CONSTRUCTS.items():
        if any(re.search(looks, shape) for shape in shapes):
            yield name
