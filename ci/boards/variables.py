"""Puts values in place of Grafana's variables, so that PromQL's own grammar reads the rest.

`$name`, `${name}`, `${name:format}` and `[[name]]` are variables; those that begin with two
underscores are Grafana's own. A value that only an opened dashboard knows is guessed by what
fits there: a duration in brackets, else a number, a name, or an aggregation.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import product

UNKNOWN = "a_grafana_variable"
"""What stands for a name that only an opened dashboard knows."""
GUESSES = ("1", UNKNOWN, "sum", "5m")
MOST_VALUES, MOST_GUESSES = 50, 200
VARIABLE = re.compile(r"\$\{(\w[\w.]*)(?::(\w+)[^}]*)?\}|\[\[(\w+)(?::\w+)?\]\]|\$([A-Za-z_]\w*)")
TEXT = r'"(?:[^"\\]|\\.)*"' + r"|'(?:[^'\\]|\\.)*'|`[^`]*`"
RANGE = r"\[(?:[^\[\]\"]|\[\[\w+(?::\w+)?\]\])*\]"
PIECE = re.compile(f"{TEXT}|{RANGE}|{VARIABLE.pattern}", re.DOTALL)
DURATION = re.compile(r"(?:\d+(?:ms|[smhdwy]))+|\d+")
QUOTES = {"doublequote": '"', "singlequote": "'"}
"""Formats that put quotes around a value."""

Values = Mapping[str, tuple[str, ...]]


def name_in(text: str) -> str:
    """Return the name of the variable that a text is; the text itself where it is none."""
    found = VARIABLE.fullmatch(text)
    return _name(found) if found else text


def references(text: str) -> list[str]:
    """Return the names of the variables that a text uses, each once."""
    return list(dict.fromkeys(_name(found) for found in VARIABLE.finditer(text)))


def turns(text: str, values: Values) -> Iterator[Iterator[str]]:
    """Yield, for each value that the variables of a query may have, the texts to try in turn.

    Every listed value comes up once, not every combination of them.

    Args:
        text: The query.
        values: Variable to the values that its file names for it.
    """
    names = references(text)
    most = max((len(values.get(name, ())) for name in names), default=0)
    for turn in range(min(max(most, 1), MOST_VALUES)):
        chosen = {
            name: values[name][turn % len(values[name])] for name in names if values.get(name)
        }
        yield _guessed(text, names, chosen)


def _guessed(text: str, names: list[str], chosen: Mapping[str, str]) -> Iterator[str]:
    """Yield a query with the chosen values, and with guesses for those that have none."""
    ways = ([*([chosen[name]] if name in chosen else []), *GUESSES] for name in names)
    for some, _ in zip(product(*ways), range(MOST_GUESSES), strict=False):
        yield _filled(text, dict(zip(names, some, strict=True)), chosen)


def _filled(text: str, guesses: Mapping[str, str], chosen: Mapping[str, str]) -> str:
    def piece(found: re.Match[str]) -> str:
        whole = found[0]
        if whole[0] in "\"'`":
            return VARIABLE.sub(lambda one: chosen.get(_name(one), UNKNOWN), whole)
        if whole[0] == "[" and not VARIABLE.fullmatch(whole):
            return VARIABLE.sub(lambda one: _duration(one, chosen), whole)
        quote = QUOTES.get(found[2] or "", "")
        return f"{quote}{guesses[_name(found)]}{quote}"

    return PIECE.sub(piece, text)


def _duration(found: re.Match[str], chosen: Mapping[str, str]) -> str:
    value = chosen.get(_name(found), "")
    unit_follows = found.string[found.end() :][:1].isalpha()
    return value if DURATION.fullmatch(value) else "300" if unit_follows else "5m"


def _name(found: re.Match[str]) -> str:
    return str(found[1] or found[3] or found[4])
