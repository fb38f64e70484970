"""What an installed SGLang says of itself without a server: its flags and sampling defaults.

`interface.py` asks it, by the interpreter that has that SGLang; here its answer becomes parts.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import anyio

from ci.contract import interface
from ci.contract.model import ContractPart, Items
from ci.errors import CheckBroken, UsageError

SECONDS = 300.0
"""Most seconds of the script; nearly all of it is SGLang's imports."""
DEPRECATED = re.compile(
    r"^\W*deprecated|\b(flag|option|argument|alias) is deprecated|will be removed", re.IGNORECASE
)
"""How a help text says it of its own flag, and not of another one that it replaces."""

Interface = dict[str, Any]


async def introspect(python: str) -> Interface:
    """Return what `interface.py` prints under the interpreter `python`.

    Raises:
        UsageError: There is no such interpreter.
        CheckBroken: It ended without an answer, or took too long.
    """
    command = [python, "-P", str(Path(interface.__file__))]
    clean = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    try:
        with anyio.fail_after(SECONDS):
            done = await anyio.run_process(
                command, env=clean, stdin=subprocess.DEVNULL, check=False
            )
    except TimeoutError as error:
        raise CheckBroken(f"{python}: SGLang's flags took over {SECONDS:g} s to list") from error
    except OSError as error:
        raise UsageError(f"{python}: no interpreter: {error.strerror}") from error
    if done.returncode:
        log = done.stderr.decode("utf-8", "replace").strip()
        last = log.rpartition("\n")[2] or f"exit code {done.returncode}"
        raise CheckBroken(f"{python}: SGLang's flags can't be listed: {last}", details=log)
    return _read(done.stdout, python)


def read_interface(path: Path) -> Interface:
    """Read what `interface.py` printed inside an image.

    Raises:
        UsageError: The file is missing or is something else.
    """
    try:
        return _read(path.read_bytes(), str(path))
    except OSError as error:
        raise UsageError(f"{path}: can't be read: {error.strerror}") from error


def _read(content: bytes, source: str) -> Interface:
    try:
        found = json.loads(content)
    except ValueError as error:
        raise UsageError(f"{source}: not what interface.py prints: {error}") from error
    if not isinstance(found, dict) or not {"sglang", "missing"} <= set(found):
        raise UsageError(f"{source}: not what interface.py prints")
    return found


def flags_part(found: Interface | None) -> ContractPart:
    """Return the launch flags, each by its longest first name; other names point to it."""
    if found is None or "flags" not in found:
        return ContractPart(unknown=_why(found, "flags"))
    items: Items = {}
    for flag in found["flags"]:
        first = _first(flag["names"])
        items[first] = {
            "takes": flag["takes"],
            "type": flag["type"],
            "choices": flag["choices"],
            "default": flag["default"],
            "deprecated": flag["deprecated"] or bool(DEPRECATED.search(flag["help"])),
            "help": flag["help"],
        }
        items |= {name: {"same as": first} for name in flag["names"] if name != first}
    return ContractPart(items=items)


def sampling_items(found: Interface | None) -> Items:
    """Return the engine's own defaults of sampling parameters."""
    parameters = (found or {}).get("sampling", {})
    return {f"engine {name}": {"default": value} for name, value in parameters.items()}


def _first(names: list[str]) -> str:
    return next((name for name in names if name.startswith("--")), names[0])


def _why(found: Interface | None, part: str) -> str:
    if found is None:
        return "a URL doesn't show launch flags: name the interpreter or the image's interface"
    return f"this SGLang doesn't list them: {found['missing'].get(part, 'no reason given')}"
