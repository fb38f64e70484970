"""Say what a model runs on here: the GPUs by name, or the CPU.

It needs nothing but the standard library, so that it can be handed to any image's interpreter:
`python3 device.py`.
"""

from __future__ import annotations

import os
import platform
import re
from collections import Counter
from pathlib import Path

GPUS = Path("/proc/driver/nvidia/gpus")
DRIVER = Path("/proc/driver/nvidia/version")
CPU = Path("/proc/cpuinfo")


def device() -> str:
    """Return the GPUs' names, how many of each, and the driver; without any, the CPU's name."""
    names = Counter(_named(_read(file), "Model") for file in GPUS.glob("*/information"))
    if not names:
        return f"CPU: {_named(_read(CPU), 'model name') or platform.machine()}, {_cores()} cores"
    driver = re.search(r"Kernel Module.*?\s(\d+(?:\.\d+)+)\s", _read(DRIVER))
    told = ", ".join(f"{count} x {name or 'GPU'}" for name, count in names.items())
    return f"{told}, driver {driver[1]}" if driver else told


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def _named(text: str, key: str) -> str:
    found = re.search(rf"^{key}\s*:\s*(.+)$", text, re.MULTILINE)
    return " ".join(found[1].split()) if found else ""


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


if __name__ == "__main__":
    print(device())  # noqa: T201
