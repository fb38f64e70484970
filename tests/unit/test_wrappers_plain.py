"""The CI wrappers read as their platforms' users write them, and hold no logic of their own."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tests.unit.wrappers import JENKINS, YAML, scripts

pytestmark = pytest.mark.unit

MOST_COLUMNS = 100
KEYWORDS = {"if", "for", "while", "until", "case", "test", "[", "[["}
REDIRECTED = {">", ">>"}
SUBSTITUTED = re.compile(r"\$\(|`").findall


def logic(script: str) -> list[str]:
    """Return what makes more of a step than one command: operators, keywords, further lines."""
    lines = [line for line in script.replace("\\\n", " ").splitlines() if line.strip()]
    words = shlex.shlex("\n".join(lines), posix=True, punctuation_chars=True)
    words.whitespace_split = True
    found = [word for word in words if word in KEYWORDS or set(word) <= set("();<>|&")]
    return [*lines[1:], *(word for word in found if word not in REDIRECTED), *SUBSTITUTED(script)]


STEPS = [(name, script.text) for name, steps in scripts() for script in steps]


@pytest.mark.parametrize(("name", "script"), STEPS, ids=[name for name, _ in STEPS])
def test_step_is_one_command(name: str, script: str) -> None:
    """A wrapper has grown logic of its own, which no other CI has."""
    assert logic(script) == []


@pytest.mark.parametrize(
    "script",
    [
        "dagger call ci && dagger call verdict",
        "dagger call ci\ndagger call verdict",
        'test -n "$BY" || dagger call ci',
        "for name in a b; do dagger call ci; done",
        "dagger call ci --revision=$(git rev-parse HEAD)",
        "dagger call ci | tee log",
    ],
)
def test_logic_is_found(script: str) -> None:
    """Logic in a step stays unseen."""
    assert logic(script)


@pytest.mark.parametrize("file", [*YAML, JENKINS], ids=lambda file: file.name)
def test_lines_are_short(file: Path) -> None:
    """A line of a wrapper has to be read sideways."""
    assert max(map(len, file.read_text().splitlines())) <= MOST_COLUMNS


@pytest.mark.parametrize("file", YAML, ids=lambda file: file.name)
def test_yaml_is_in_block_style(file: Path) -> None:
    """Jobs are packed into braces, which a reader has to unpack."""
    text = re.sub(r"\$\{\{.*?\}\}", "", file.read_text())
    assert not re.search(r": *\{", text)


def test_jenkinsfile_is_declarative() -> None:
    """A stage of Jenkins is a program, in place of steps."""
    assert not re.search(r"\b(script|if|for|while) *[({]|\$\{|' *\+", JENKINS.read_text())
