"""Takes a regular expression apart into the alternatives that it spells out."""

from __future__ import annotations

import re

PIECE = re.compile(r"\\.|\[\^?\]?[^\]]*\]|\(\?:|\(\?|.", re.DOTALL)
REPEATS = frozenset("*+?{")
MOST = 200
"""Most alternatives; an expression that has more stays as it is."""


class _Indivisible(ValueError):
    """The expression can't be taken apart."""


def alternatives(pattern: str) -> list[str]:
    """Return regular expressions that together match what `pattern` does.

    `sglang:(a|b.*)` is `sglang:a` and `sglang:b.*`, so that each can be missed by itself. A group
    that is repeated stays whole, and so does an expression with flags or named groups.
    """
    try:
        return _union(PIECE.findall(pattern)[::-1])
    except _Indivisible:
        return [pattern]


def _union(pieces: list[str]) -> list[str]:
    """Return the alternatives up to the end of a group; takes its pieces from the list's end."""
    done: list[str] = []
    current = [""]
    while pieces and (piece := pieces.pop()) != ")":
        if piece == "|":
            done, current = [*done, *current], [""]
            continue
        some = _group(piece, pieces) if piece.startswith("(") else [piece]
        if len(done) + len(current) * len(some) > MOST:
            raise _Indivisible
        current = [begin + end for begin in current for end in some]
    return [*done, *current]


def _group(begin: str, pieces: list[str]) -> list[str]:
    if begin == "(?":
        raise _Indivisible
    inside = _union(pieces)
    repeated = bool(pieces) and pieces[-1] in REPEATS
    return [f"(?:{'|'.join(inside)})"] if repeated else inside
