"""What the README shows is what is tested."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import pytest

from tests.readme import ROOT, readme, shown

pytestmark = pytest.mark.unit


def claimed() -> Counter[str]:
    """Return the beginnings of commands by which tests ask for them."""
    calls = [
        node
        for file in sorted((ROOT / "tests").rglob("test_*.py"))
        if file != Path(__file__)
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "readme"
    ]
    return Counter(str(ast.literal_eval(call.args[0])) for call in calls)


def test_every_command_is_run() -> None:
    """A command that nobody runs goes wrong unseen."""
    starts = tuple(claimed())
    assert not [command for command in shown() if not command.startswith(starts)]


def test_every_claim_is_of_one_command() -> None:
    """A test whose command the README no longer shows runs something else."""
    assert all(readme(start) for start in claimed())
