"""Files with the veil over every secret in them: every file that a run leaves is written here."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TextIO

from ci.secrets.veil import MARGIN, veiled, veiled_data

_LINE = 65_536
"""Most bytes of a line that are held back until its end."""


def write(path: Path, text: str) -> None:
    """Write `text` to a file."""
    path.write_text(_fitting(path, text), encoding="utf-8", newline="")


def replace(path: Path, text: str) -> None:
    """Write `text` to a file, whole or not at all: who reads it meanwhile gets the old one."""
    new = path.with_name(f".{path.name}.new")
    new.write_text(_fitting(path, text), encoding="utf-8", newline="")
    new.replace(path)


class Lines:
    """A text file that is written line by line."""

    def __init__(self, path: Path, file: TextIO) -> None:
        """Write to `file`, which lies at `path`."""
        self._path, self._file = path, file

    def write(self, line: str) -> None:
        """Write one line, which has to end in a line feed."""
        self._file.write(_fitting(self._path, line))

    def flush(self) -> None:
        """Hand over what is buffered."""
        self._file.flush()


@contextmanager
def lines(path: Path) -> Iterator[Lines]:
    """Open a file to be written line by line; gzipped where its name ends in `.gz`."""
    opened: Any = gzip.open if path.suffix == ".gz" else open
    with opened(path, "wt", encoding="utf-8", newline="") as file:
        yield Lines(path, file)


def _fitting(path: Path, text: str) -> str:
    """Return `text` veiled, as the kind of the file has it: JSON stays JSON."""
    shown = veiled(text)
    lined = ".jsonl" in path.suffixes
    if shown == text or not (lined or path.suffix == ".json"):
        return shown
    parts = text.splitlines() if lined else [text]
    spaced: dict[str, Any] = {"separators": (",", ":")} if lined else {"indent": 1}
    return "".join(f"{json.dumps(veiled_data(json.loads(part)), **spaced)}\n" for part in parts)


class Flow:
    """Output that arrives in pieces: the last line that isn't whole is held back."""

    def __init__(self) -> None:
        """Begin with nothing held back."""
        self._rest = b""

    def add(self, chunk: bytes) -> bytes:
        """Take in a piece; return what can be written by now."""
        held = self._rest + chunk
        whole = max(held.rfind(b"\n"), held.rfind(b"\r")) + 1
        shown, self._rest = _bytes(held[:whole]), held[whole:]
        if len(self._rest) > _LINE:
            kept = _bytes(self._rest)
            shown, self._rest = shown + kept[:-MARGIN], kept[-MARGIN:]
        return shown

    def end(self) -> bytes:
        """Return what was held back."""
        shown, self._rest = _bytes(self._rest), b""
        return shown


def copy(source: Path, target: Path) -> None:
    """Copy a log; what was written to it before anybody knew of a secret is veiled too."""
    flow = Flow()
    with source.open("rb") as read, target.open("wb") as shown:
        while chunk := read.read(_LINE):
            shown.write(flow.add(chunk))
        shown.write(flow.end())


def end_of(file: IO[bytes], most: int) -> bytes:
    """Return the last `most` bytes of a file, from the beginning of a line on."""
    begin = max(0, file.seek(0, os.SEEK_END) - most)
    file.seek(max(0, begin - 1))
    if begin:
        file.readline()
    return file.read()


def _bytes(content: bytes) -> bytes:
    text = content.decode("utf-8", "surrogateescape")
    return veiled(text).encode("utf-8", "surrogateescape")
