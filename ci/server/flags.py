"""Flags of a server, read as its own parser reads them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest


def value_of(flags: Sequence[str], name: str) -> str | None:
    """Return the value of a flag, of which the last one counts; None where it isn't given.

    Args:
        flags: All flags of a server, with their values.
        name: The flag's whole name, such as `--api-key`.
    """
    found = None
    for flag, following in zip_longest(flags, flags[1:], fillvalue=""):
        given, equals, value = flag.partition("=")
        if given == name:
            found = value if equals else following
    return found
