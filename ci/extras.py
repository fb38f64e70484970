"""The optional packages of this project, and the command that adds them where they are missing."""

from __future__ import annotations

import json
import shlex
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

NAME = "sglang-ci"
MADE = ("deploy", "fuzz", "hub", "observe", "release")
"""Extras that `make server` installs; others don't fit beside SGLang."""


def install(extra: str) -> str:
    """Return the command that adds an extra to the environment in which this runs.

    The project stands in no package index, so the command names the place from which it was
    installed: its own folder, somebody's clone, a repository or a file.

    Args:
        extra: A name of `[project.optional-dependencies]`.
    """
    origin = _origin()
    url = str(origin.get("url", ""))
    if not url:
        return f"pip install '{NAME}[{extra}]'"
    folder = Path(unquote(urlsplit(url).path))
    if extra in MADE and Path(sys.prefix) == folder / ".venv":
        return f"make -C {shlex.quote(str(folder))} server"
    if origin.get("dir_info", {}).get("editable"):
        return f"pip install --editable {shlex.quote(f'{folder}[{extra}]')}"
    vcs = origin.get("vcs_info")
    source = f"{vcs['vcs']}+{url}@{vcs['commit_id']}" if vcs else url
    return f"pip install {shlex.quote(f'{NAME}[{extra}] @ {source}')}"


def _origin() -> dict[str, Any]:
    """Return where the project was installed from (PEP 610); empty where nothing says so."""
    try:
        told = distribution(NAME).read_text("direct_url.json")
    except PackageNotFoundError:
        return {}
    return dict(json.loads(told)) if told else {}
