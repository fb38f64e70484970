"""Bytes, growth and the names of layers, as people read them."""

from __future__ import annotations

import re

from ci.report.text import one_line

LONGEST_NAME = 100
"""Most characters of a layer's name."""
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
_THOUSAND = 1000
_SHELL = re.compile(r"^(?:RUN )?(?:\|\d+ .*?)?/bin/(?:ba)?sh (?:-\S+ )*-c ")
_NO_OPERATION = "#(nop) "
_BUILDKIT = " # buildkit"
_DIGEST = re.compile(r"\b(file|dir|multi|sha256):[0-9a-f]{16,}")


def size(count: float) -> str:
    """Return bytes in decimal units: `1.23 GB`."""
    value, units = float(count), iter(_UNITS)
    unit = next(units)
    while abs(value) >= _THOUSAND - 0.5 and (bigger := next(units, "")):
        value, unit = value / _THOUSAND, bigger
    return f"{value:.3g} {unit}"


def change(old: int, new: int) -> str:
    """Return both sizes and what lies between them: `1 GB to 1.2 GB (+20 %)`."""
    share = f"{100 * (new - old) / old:+.1f} %" if old else "new"
    return f"{size(old)} to {size(new)} ({share})"


def layer_name(created_by: object, number: int) -> str:
    """Return what made a layer, in one short line that the next build's layer has as well.

    Digests of copied files and the values of build arguments are left out: they differ from
    build to build.

    Args:
        created_by: What the image's history says, whatever that is.
        number: The layer's place, from 1 on, for one of which nothing is said.
    """
    text = one_line(created_by) if isinstance(created_by, str) else ""
    text = text.removesuffix(_BUILDKIT)
    if _SHELL.match(text):
        command = _SHELL.sub("", text)
        plain = command.removeprefix(_NO_OPERATION).strip()
        text = plain if command.startswith(_NO_OPERATION) else f"RUN {plain}"
    text = _DIGEST.sub(r"\1:…", text)
    if len(text) > LONGEST_NAME:
        half = (LONGEST_NAME - 1) // 2
        text = f"{text[:half].rstrip()}…{text[-half:].lstrip()}"
    return text or f"layer {number}"
