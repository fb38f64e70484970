"""The module keeps to what Dagger 0.21 and the 1.0 line both have (docs/dagger-versions.md)."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]
GONE = {"Binding", "CheckGroup", "Env", "GeneratorGroup", "Up", "UpGroup"}
"""What 0.21's client has and 1.0.0-beta.21's lacks, beside every type of identifiers."""


def named(text: str) -> set[str]:
    """Return the names that a file takes from `dagger`."""
    found = set[str]()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "dagger":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.Attribute) and ast.unparse(node.value) == "dagger":
            found.add(node.attr)
    return found


def lost(names: set[str]) -> set[str]:
    """Return those names that the 1.0 line lacks."""
    return {name for name in names if name in GONE or name.endswith("ID")}


def test_module_names_nothing_that_is_gone() -> None:
    """The module can't be loaded by Dagger 1.0, or needs a branch of its own for it."""
    names = {name for file in (ROOT / "ci/module").glob("*.py") for name in named(file.read_text())}
    assert {"Container", "function", "check", "up"} <= names
    assert lost(names) == set()


@pytest.mark.parametrize(
    "text", ["import dagger\nx: dagger.UpGroup", "from dagger import CheckGroup", "dagger.FileID"]
)
def test_what_is_gone_is_found(text: str) -> None:
    """The module is held against nothing."""
    assert lost(named(text))


def test_there_is_one_description_of_the_module() -> None:
    """Two files say what the module is: 0.21 reads one, 1.0 the other, and they drift apart."""
    assert json.loads((ROOT / "dagger.json").read_text())["sdk"] == {"source": "python"}
    assert not (ROOT / "dagger-module.toml").exists()
