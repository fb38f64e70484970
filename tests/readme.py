"""The commands that the README shows, each for the test that runs it.

A test asks for its command by the words that it starts with; `tests/unit/test_readme.py` holds
that every command has such a test.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "examples/README.md")


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
