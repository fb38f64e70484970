"""JSON from a server, read alike wherever it comes from."""

from __future__ import annotations

import json
from typing import Any

MARK = "\N{ZERO WIDTH NO-BREAK SPACE}"
"""A byte order mark, once it is read; RFC 8259 lets a reader pass over one."""


def document(content: bytes | str) -> Any:
    """Return what JSON in UTF-8 holds, with a byte order mark before it or without.

    Raises:
        ValueError: It is no JSON, no UTF-8, or nests too deep to be read.
    """
    text = content if isinstance(content, str) else content.decode()
    try:
        return json.loads(text.removeprefix(MARK))
    except RecursionError as error:
        raise ValueError("it nests too deep to be read") from error
