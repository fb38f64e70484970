"""List what the Python environment that runs this file has installed.

It needs nothing but the standard library and imports none of what it lists, so that it
can be handed to any image's interpreter: `python3 inventory.py > inventory.json`.
"""

from __future__ import annotations

import json
import platform
import re
from importlib.metadata import distributions
from pathlib import Path


def inventory() -> dict[str, str]:
    """Return name to version: each distribution (PEP 503 name), python, cuda and driver.

    `cuda` is what torch was built for, `driver` what the kernel has loaded; both are
    missing where there is none.
    """
    found: dict[str, str] = {}
    for distribution in distributions():
        name = distribution.metadata["Name"]
        if name:
            found.setdefault(re.sub(r"[-_.]+", "-", name).lower(), distribution.version)
            if name == "torch":
                found |= _cuda(Path(str(distribution.locate_file("torch/version.py"))))
    return {"python": platform.python_version()} | _driver() | found


def _cuda(version_file: Path) -> dict[str, str]:
    text = version_file.read_text(encoding="utf-8") if version_file.is_file() else ""
    match = re.search(r"^cuda\b[^=]*=\s*['\"]([\d.]+)['\"]", text, re.MULTILINE)
    return {"cuda": match[1]} if match else {}


def _driver() -> dict[str, str]:
    file = Path("/proc/driver/nvidia/version")
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    match = re.search(r"Kernel Module.*?\s(\d+(?:\.\d+)+)\s", text)
    return {"driver": match[1]} if match else {}


if __name__ == "__main__":
    print(json.dumps(inventory(), indent=1, sort_keys=True))  # noqa: T201
