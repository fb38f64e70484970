"""A new key in two files: the private half for its owner alone, the public one for everybody."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ci.errors import UsageError
from ci.release.signing import new_key

_OWNER, _ALL = 0o600, 0o644


def write(folder: Path, name: str, password: str = "") -> tuple[Path, Path]:
    """Make a key and write `NAME.key` and `NAME.pub`; nothing is ever overwritten.

    Args:
        folder: Where they go.
        name: Whose key it is.
        password: Locks the private half, where there is one.

    Raises:
        UsageError: The name is no file's, a file is there already, or can't be written.
    """
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.@-]*", name):
        raise UsageError(f"{name!r} can't be a key's name: letters, digits, '_', '.', '@' and '-'")
    files = folder / f"{name}.key", folder / f"{name}.pub"
    for file in files:
        if file.exists():
            raise UsageError(f"{file} is there already: a key is never overwritten")
    for file, content, mode in zip(files, new_key(password), (_OWNER, _ALL), strict=True):
        try:
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        except OSError as error:
            raise UsageError(f"{file} can't be written: {error.strerror}") from error
        with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
            opened.write(content)
    return files
