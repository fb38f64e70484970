"""Every file that a run leaves is written under the veil."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

RAW = {
    "ci/release/key_files.py": "a private key's own file, which only its owner reads",
    "ci/platform/make_tiny_model.py": "makes what is shipped; no part of a run",
    "ci/upgrade/environments.py": "describes an installed copy of this package",
    "ci/release/evidence/audit.py": "a list of packages, in a folder that is removed",
    "ci/smoke/record.py": "cases for the runner or the caller of pytest, each of them veiled",
    "ci/report/write.py": "touches a file to see whether it can",
    "ci/report/console.py": "opens the null device",
    "ci/report/github.py": "a rendered report, which is veiled",
    "ci/commands/streams.py": "opens the null device",
    "ci/concurrency.py": "a pipe",
    "ci/cases/worker.py": "runs where this package isn't installed, and writes to a pipe",
    "ci/secrets/files.py": "is the veil",
}
"""Files that write past the veil, each with its reason."""
WRITERS = {"write_text", "write_bytes", "open", "touch"}


def written_past_the_veil(file: Path) -> bool:
    """Return whether code opens a file for writing, or writes one."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
            name = name or (node.func.id if isinstance(node.func, ast.Name) else "")
            words = [one.value for one in node.args if isinstance(one, ast.Constant)]
            modes = [one for one in words if isinstance(one, str) and set(one) <= set("wabxt+")]
            if name in WRITERS - {"open"} or (name == "open" and modes):
                return True
    return False


def test_every_file_is_written_under_the_veil() -> None:
    """A new kind of file holds a key, as its writer knew nothing of secrets."""
    root = Path(__file__).parents[2]
    files = [file for file in (root / "ci").rglob("*.py") if written_past_the_veil(file)]
    assert {file.relative_to(root).as_posix() for file in files} <= set(RAW)
