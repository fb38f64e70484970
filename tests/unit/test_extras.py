"""The command that adds an optional package fits the way in which the project was installed."""

from __future__ import annotations

import json
import sys
import tomllib
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from ci import extras
from ci.extras import install

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]
CLONE = {"url": "file:///src/sglang%20ci", "dir_info": {"editable": True}}
GIT = {
    "url": "https://git.example/team/sglang-ci",
    "vcs_info": {"vcs": "git", "commit_id": "c0ffee"},
}
WHEEL = {"url": "file:///dist/sglang_ci-0.1.0-py3-none-any.whl", "archive_info": {}}


def installed(monkeypatch: pytest.MonkeyPatch, told: dict[str, Any] | None) -> None:
    """Let the project be installed from what `told` says (PEP 610), or from an index."""
    found = Mock()
    found.read_text.return_value = None if told is None else json.dumps(told)
    monkeypatch.setattr(extras, "distribution", Mock(return_value=found))


@pytest.mark.parametrize(
    ("told", "command"),
    [
        (CLONE, "pip install --editable '/src/sglang ci[release]'"),
        (
            GIT,
            "pip install 'sglang-ci[release] @ git+https://git.example/team/sglang-ci@c0ffee'",
        ),
        (WHEEL, f"pip install 'sglang-ci[release] @ {WHEEL['url']}'"),
        (None, "pip install 'sglang-ci[release]'"),
    ],
    ids=["clone", "git", "wheel", "index"],
)
def test_extra_comes_from_where_the_project_came(
    monkeypatch: pytest.MonkeyPatch, told: dict[str, Any] | None, command: str
) -> None:
    """A user is told to install something that exists nowhere."""
    installed(monkeypatch, told)
    assert install("release") == command


@pytest.mark.parametrize(
    ("extra", "command"),
    [
        ("fuzz", "make -C '/src/sglang ci' server"),
        ("trend", "pip install --editable '/src/sglang ci[trend]'"),
    ],
)
def test_make_is_named_where_make_installed(
    monkeypatch: pytest.MonkeyPatch, extra: str, command: str
) -> None:
    """Who typed `make ci` is told of a pip that isn't there, or of a target that lacks it."""
    installed(monkeypatch, CLONE)
    monkeypatch.setattr(sys, "prefix", "/src/sglang ci/.venv")
    assert install(extra) == command


def test_project_that_is_only_lying_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the package runs without an installation the message is a traceback."""
    monkeypatch.setattr(extras, "distribution", Mock(side_effect=PackageNotFoundError))
    assert install("hub") == "pip install 'sglang-ci[hub]'"


def test_make_installs_what_its_message_promises() -> None:
    """`make server` is named as the cure, and doesn't install it."""
    offered = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    script = (ROOT / "requirements" / "install.sh").read_text()
    assert set(extras.MADE) <= set(offered["optional-dependencies"])
    locks = [ROOT / "requirements" / f"{name}.txt" for name in ("server", *extras.MADE)]
    there = [lock for lock in locks if lock.exists()]
    assert all(f"requirements/{lock.name}" in script for lock in there)
    pinned = "".join(lock.read_text() for lock in there)
    for extra in extras.MADE:
        for needed in offered["optional-dependencies"][extra]:
            name = needed.partition(">")[0].partition("[")[0].lower().replace("_", "-")
            assert f"\n{name}==" in pinned, f"{needed} of {extra}"
