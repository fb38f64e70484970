"""List what is installed where this file runs: Python distributions and Debian packages.

It needs nothing but the standard library, imports nothing of what it lists, writes nothing,
and doesn't care where it is started, so that it can be handed to any image's interpreter:
`python3 installed.py > installed.json`. `ci.image.listing` reads what it prints.
"""

from __future__ import annotations

import csv
import json
import os
import platform
import re
import shutil
import stat
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.metadata import PackageMetadata

LONGEST_NAME = 100
"""Most characters of a licence's name; what is longer is its whole text."""
SGLANG = "sglang"


def installed(
    root: Path = Path("/"), path: list[str] | None = None, *, sizes: bool = True
) -> dict[str, object]:
    """Return what is installed.

    Args:
        root: Where the system's own files are.
        path: Folders of Python distributions; this interpreter's where None.
        sizes: Whether the files of each distribution are weighed, which takes a second.
    """
    found = list(distributions() if path is None else distributions(path=path))
    named: dict[str, Distribution] = {}
    pythons = []
    for one in found:
        told = _distribution(one, sizes=sizes)
        if told["name"] and told["version"]:
            first = named.setdefault(_canonical(str(told["name"])), one)
            pythons.append(told if first is one else told | {"shadowed": True})
    return {
        "schema_version": "1.2",
        "python": platform.python_version(),
        "cuda": _cuda(named.get("torch")),
        "driver": _driver(root),
        "markers": _markers(),
        "os": _os_release(root),
        "distributions": _sorted(pythons),
        "packages": _sorted(_packages(root)),
        "sglang": _sglang(named[SGLANG]) if SGLANG in named else None,
    }


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _distribution(distribution: Distribution, *, sizes: bool) -> dict[str, object]:
    """Describe one distribution; `indexed` is whether it came from an index by its name."""
    metadata = distribution.metadata  # which is read and parsed anew each time that it is asked for
    return {
        "name": _field(metadata, "Name"),
        "version": _field(metadata, "Version"),
        "indexed": distribution.read_text("direct_url.json") is None,
        "licences": _licences(metadata),
        "bytes": _bytes(distribution) if sizes else None,
    }


def _cuda(torch: Distribution | None) -> str:
    """Return the CUDA that torch was built for; empty where there is none."""
    text = _text(Path(str(torch.locate_file("torch/version.py")))) if torch else ""
    match = re.search(r"^cuda\b[^=]*=\s*['\"]([\d.]+)['\"]", text, re.MULTILINE)
    return match[1] if match else ""


def _driver(root: Path) -> str:
    """Return the version of the NVIDIA driver that the kernel has loaded; empty without one."""
    text = _text(root / "proc/driver/nvidia/version")
    match = re.search(r"Kernel Module.*?\s(\d+(?:\.\d+)+)\s", text)
    return match[1] if match else ""


def _markers() -> dict[str, str]:
    """Return what the markers of requirements ask of an interpreter and its machine."""
    return {
        "os_name": os.name,
        "sys_platform": sys.platform,
        "platform_machine": platform.machine(),
        "platform_python_implementation": platform.python_implementation(),
        "platform_system": platform.system(),
        "python_version": ".".join(platform.python_version_tuple()[:2]),
        "python_full_version": platform.python_version(),
        "implementation_name": sys.implementation.name,
    }


def _sglang(distribution: Distribution) -> dict[str, object]:
    """Describe SGLang by its metadata, and by its code, which may be of another version."""
    code = _code(distribution)
    versions = [_literal(code / name, "__version__") for name in ("_version.py", "version.py")]
    return {
        "code_version": versions[0] or versions[1],
        "commits": {name: told for name, told in _commits(distribution, code) if told},
        "requires": distribution.requires or [],
        "commands": dict(_commands(distribution)),
    }


def _code(distribution: Distribution) -> Path:
    """Return the folder of SGLang's code: beside its metadata, or where an editable one leads."""
    beside = Path(str(distribution.locate_file(SGLANG)))
    if beside.is_dir():
        return beside
    spec = find_spec(SGLANG)
    return Path(spec.origin).parent if spec and spec.origin else beside


def _commits(distribution: Distribution, code: Path) -> Iterator[tuple[str, str]]:
    """Yield who tells the commit of SGLang's code, and what they tell."""
    yield "SGLANG_GIT_COMMIT", os.environ.get("SGLANG_GIT_COMMIT", "")
    yield "_version.py", _literal(code / "_version.py", "__commit_id__")
    try:
        origin = json.loads(distribution.read_text("direct_url.json") or "{}")
        yield "direct_url.json", str(origin["vcs_info"]["commit_id"])
    except (ValueError, KeyError, TypeError):
        return


def _literal(file: Path, name: str) -> str:
    """Return the text that a Python file gives a name at its top level; empty for no text."""
    match = re.search(rf"^{name}\b[^'\"\n]*=\s*['\"]([^'\"\n]*)['\"]", _text(file), re.MULTILINE)
    return match[1] if match else ""


def _commands(distribution: Distribution) -> Iterator[tuple[str, bool]]:
    """Yield the name of each command of a distribution, and whether its file is there."""
    files = {file.name: file for file in distribution.files or () if file.parent.name == "bin"}
    for entry in distribution.entry_points:
        if entry.group == "console_scripts":
            file = files.get(entry.name)
            there = Path(str(file.locate())).is_file() if file else bool(shutil.which(entry.name))
            yield entry.name, there


def _text(file: Path) -> str:
    """Return a file's text; empty where it isn't one or can't be read."""
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


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


def _licences(metadata: PackageMetadata) -> list[str]:
    """Return the names of its licences: an SPDX expression, or else what its metadata calls it."""
    expression = _field(metadata, "License-Expression")
    if expression:
        return [expression]
    lines = metadata.get_all("Classifier") or []
    classes = [line.rpartition(" :: ")[2] for line in lines if line.startswith("License :: ")]
    names = [_field(metadata, "License"), *classes]
    return [
        name
        for name in dict.fromkeys(name.strip() for name in names)
        if name not in {"", "UNKNOWN"} and len(name) <= LONGEST_NAME and "\n" not in name
    ]


def _field(metadata: PackageMetadata, name: str) -> str:
    return str((metadata.get_all(name) or [""])[0])


def _packages(root: Path) -> list[dict[str, object]]:
    """Read dpkg's list; it is empty where the system isn't a Debian."""
    text = _text(root / "var/lib/dpkg/status")
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
    text = _text(root / "etc/os-release")
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
    found = {key: value.strip().strip("'\"") for key, _, value in pairs}
    return {key.lower(): found.get(key, "") for key in ("ID", "VERSION_ID", "PRETTY_NAME")}


def _sorted(entries: list[dict[str, object]]) -> list[dict[str, object]]:
    """Return the entries in order, each once."""
    lines = sorted({json.dumps(entry, sort_keys=True) for entry in entries})
    return sorted((json.loads(line) for line in lines), key=lambda entry: str(entry["name"]))


if __name__ == "__main__":
    json.dump(installed(), sys.stdout, indent=1, sort_keys=True)
