"""The commands that the README shows, each for the test that runs it.

A test asks for its command by the words that it starts with; `tests/unit/test_readme.py` holds
that every command has such a test.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "examples/README.md")
HANG = 300.0
"""Most seconds that a command may take before it counts as hung."""


def shown() -> tuple[str, ...]:
    """Return every command of the pages: no prompt, no comment, one line each."""
    blocks = [
        block
        for page in PAGES
        for block in re.findall(r"```console\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    ]
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    commands = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    return tuple(shlex.join(shlex.split(command, comments=True)) for command in commands)


def readme(start: str, replaced: Mapping[str, str] | None = None) -> list[str]:
    """Return the one command that starts with `start`, as arguments.

    Args:
        start: Words that no other command starts with.
        replaced: What is the reader's own in the command, such as `registry.example`, and
            what stands there when it is run.
    """
    found = [command for command in shown() if command.startswith(start)]
    assert len(found) == 1, f"{start!r} starts {len(found)} commands"
    command = found[0]
    for text, value in (replaced or {}).items():
        assert text in command, f"{text} isn't in {command}"
        command = command.replace(text, value)
    return shlex.split(command)


def run(folder: Path, argv: list[str], **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command as a reader would, who has `sglang-ci` on the path, in `folder`."""
    tools = folder / "tools"
    tools.mkdir(exist_ok=True)
    command = tools / "sglang-ci"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m ci "$@"\n')
    command.chmod(0o755)
    path = {"PATH": f"{tools}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        argv,
        cwd=folder,
        env=os.environ | path | variables,
        capture_output=True,
        text=True,
        timeout=HANG,
        check=False,
    )
