r"""Reads what a server exposes for Prometheus: its samples, and the types that it names.

Both text formats are read, 0.0.4 and OpenMetrics 1.0, with the names that samples really have,
since those are what a query finds. A line that is neither a sample nor a comment is passed over:
one that a server has spoilt must not hide all others.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

_TEXT = r'"([^"\\]*+(?:\\.[^"\\]*+)*+)"'
_ITEM = re.compile(rf"(?:([a-zA-Z_]\w*+)|{_TEXT})\s*+(?:=\s*+{_TEXT}\s*+)?+(?:,|$)")
_LINE = re.compile(
    r"([a-zA-Z_:][\w:]*+)?+\s*+"  # the name, unless it stands quoted among the labels
    r'(?:\{([^"}]*+(?:"[^"\\]*+(?:\\.[^"\\]*+)*+"[^"}]*+)*+)\}\s*+)?+'
    r"([^\s#]++)"  # the value
    r"(?:\s++[^\s#]++)?+\s*+(?:#.*)?"  # a time, and an example of what was counted
)
"""Nothing in it is tried in two ways, so that no line takes long."""
_TYPE = re.compile(rf"#\s++TYPE\s++(?:{_TEXT}|(\S++))\s++(\S++)\s*+")
_ESCAPE = re.compile(r"\\(.)")


@dataclass(frozen=True, slots=True)
class Sample:
    """One value.

    Args:
        name: As a query names it.
        labels: Name to value.
        value: May be NaN or infinite.
    """

    name: str
    labels: Mapping[str, str]
    value: float


def samples(page: str) -> Iterator[Sample]:
    """Yield the samples of a page, in their order."""
    for line in _lines(page):
        if not line.startswith("#") and (found := _sample(line)):
            yield found


def types(page: str) -> dict[str, str]:
    """Return name to type, both as the page's `# TYPE` lines spell them."""
    said = (_TYPE.fullmatch(line) for line in _lines(page) if line.startswith("#"))
    return {_plain(found[1] or found[2]): found[3] for found in said if found}


def _lines(page: str) -> Iterator[str]:
    """Yield the lines; only LF ends one, for a label may hold any other character."""
    return (line.strip(" \t\r") for line in page.split("\n"))


def _sample(line: str) -> Sample | None:
    if not (found := _LINE.fullmatch(line)):
        return None
    name, labels = found[1] or "", dict[str, str]()
    for plain, quoted, value in _ITEM.findall(found[2] or ""):
        if plain or value or not quoted or name:
            labels[plain or _plain(quoted)] = _plain(value)
        else:
            name = _plain(quoted)
    try:
        return Sample(name, MappingProxyType(labels), float(found[3])) if name else None
    except ValueError:
        return None


def _plain(text: str) -> str:
    """Return a quoted text without its escapes."""
    if "\\" not in text:
        return text
    return _ESCAPE.sub(lambda found: "\n" if found[1] == "n" else found[1], text)
