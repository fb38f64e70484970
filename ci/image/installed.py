"""List what is installed where this file runs: Python distributions and Debian packages.

It needs nothing but the standard library, imports nothing of what it lists, writes nothing,
and doesn't care where it is started, so that it can be handed to any image's interpreter:
`python3 installed.py > installed.json`.
"""

from __future__ import annotations

import csv
import json
import os
import platform
import re
import stat
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path

LONGEST_NAME = 100
"""Most characters of a licence's name; what is longer is its whole text."""


def installed(root: Path = Path("/"), path: list[str] | None = None) -> dict[str, object]:
    """Return what is installed.

    Args:
        root: Where the system's own files are.
        path: Folders of Python distributions; this interpreter's where None.
    """
    found = distributions() if path is None else distributions(path=path)
    pythons = [one for one in map(_distribution, found) if one["name"] and one["version"]]
    return {
        "schema_version": "1.1",
        "python": platform.python_version(),
        "os": _os_release(root),
        "distributions": _sorted(pythons),
        "packages": _sorted(_packages(root)),
    }


def _distribution(distribution: Distribution) -> dict[str, object]:
    """Describe one distribution; `indexed` is whether it came from an index by its name."""
    return {
        "name": _field(distribution, "Name"),
        "version": _field(distribution, "Version"),
        "indexed": distribution.read_text("direct_url.json") is None,
        "licences": _licences(distribution),
        "bytes": _bytes(distribution),
    }


def _bytes(distribution: Distribution) -> int | None:
    """Return the bytes of the files that its RECORD names and that are there.

    None where it has no RECORD that can be read. Links count for nothing: what they lead to
    is counted where it lies.
    """
    try:
        record = distribution.read_text("RECORD")
        names = {row[0] for row in csv.reader((record or "").splitlines()) if row}
    except (UnicodeError, csv.Error):
        return None
    if not names:
        return None
    base = str(distribution.locate_file(""))
    return sum(_length(os.path.join(base, name)) for name in names)  # noqa: PTH118 - thousands


def _length(path: str) -> int:
    try:
        found = os.lstat(path)
    except (OSError, ValueError):
        return 0
    return found.st_size if stat.S_ISREG(found.st_mode) else 0


def _licences(distribution: Distribution) -> list[str]:
    """Return the names of its licences: an SPDX expression, or else what its metadata calls it."""
    expression = _field(distribution, "License-Expression")
    if expression:
        return [expression]
    lines = distribution.metadata.get_all("Classifier") or []
    classes = [line.rpartition(" :: ")[2] for line in lines if line.startswith("License :: ")]
    names = [_field(distribution, "License"), *classes]
    return [
        name
        for name in dict.fromkeys(name.strip() for name in names)
        if name not in {"", "UNKNOWN"} and len(name) <= LONGEST_NAME and "\n" not in name
    ]


def _field(distribution: Distribution, name: str) -> str:
    return str((distribution.metadata.get_all(name) or [""])[0])


def _packages(root: Path) -> list[dict[str, object]]:
    """Read dpkg's list; it is empty where the system isn't a Debian."""
    status = root / "var/lib/dpkg/status"
    text = status.read_text(encoding="utf-8", errors="replace") if status.is_file() else ""
    stanzas = [dict(_fields(stanza)) for stanza in text.split("\n\n")]
    return [
        {
            "name": stanza["Package"],
            "version": stanza["Version"],
            "architecture": stanza.get("Architecture", ""),
            "source": stanza.get("Source", "").partition(" ")[0],
            "bytes": _kibibytes(stanza.get("Installed-Size", "")),
        }
        for stanza in stanzas
        if stanza.get("Status", "").endswith(" installed") and {"Package", "Version"} <= {*stanza}
    ]


def _kibibytes(text: str) -> int | None:
    """Return the bytes of dpkg's `Installed-Size`; None where it isn't told."""
    return 1024 * int(text) if re.fullmatch("[0-9]{1,12}", text) else None


def _fields(stanza: str) -> Iterator[tuple[str, str]]:
    for line in stanza.splitlines():
        key, colon, value = line.partition(":")
        if colon:
            yield key, value.strip()


def _os_release(root: Path) -> dict[str, str]:
    file = root / "etc/os-release"
    text = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
    found = {key: value.strip().strip("'\"") for key, _, value in pairs}
    return {key.lower(): found.get(key, "") for key in ("ID", "VERSION_ID", "PRETTY_NAME")}


def _sorted(entries: list[dict[str, object]]) -> list[dict[str, object]]:
    """Return the entries in order, each once."""
    lines = sorted({json.dumps(entry, sort_keys=True) for entry in entries})
    return sorted((json.loads(line) for line in lines), key=lambda entry: str(entry["name"]))


if __name__ == "__main__":
    json.dump(installed(), sys.stdout, indent=1, sort_keys=True)
