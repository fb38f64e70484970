"""What the script says of an installation, and who may be asked for it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from ci.contract import interface
from ci.contract.introspect import introspect
from ci.contract.record import installed
from ci.errors import CheckBroken, UsageError

pytestmark = pytest.mark.unit


PARSER = """
import argparse
class ServerArgs:
    @staticmethod
    def add_cli_args(parser):
        print("noise")
        parser.add_argument("--size", "-s", type=int, default=3, help="How\\n many.")
        parser.add_argument("--kind", choices={"b", "a"}, nargs="+")
        parser.add_argument("--on", action="store_true")
"""


def fake_sglang(folder: Path) -> Callable[[], dict[str, Any]]:
    """Lay a package that is called sglang into `folder`; the function runs the script there."""
    files = {
        "sglang/__init__.py": "",
        "sglang/srt/__init__.py": "",
        "sglang/srt/server_args.py": PARSER,
        "sglang-0.5.99.dist-info/METADATA": "Name: sglang\nVersion: 0.5.99\n",
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)

    def run() -> dict[str, Any]:
        done = subprocess.run(
            [sys.executable, interface.__file__],
            capture_output=True,
            check=True,
            env={"PYTHONPATH": str(folder)},
            timeout=60,
        )
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    return run


def test_the_script_lists_an_installations_flags(tmp_path: Path) -> None:
    """The script prints noise, misses a flag, or hides what it could not import."""
    found = fake_sglang(tmp_path)()
    assert found["sglang"] == "0.5.99"
    size, kind, switch = found["flags"]
    assert (size["names"], size["type"], size["default"]) == (["--size", "-s"], "integer", 3)
    assert size["help"] == "How many."
    assert (kind["choices"], kind["takes"]) == (["a", "b"], "values")
    assert (switch["takes"], switch["default"]) == ("nothing", False)
    assert set(found["missing"]) == {"sampling", "openapi"}
    parts = installed(found, "0.5.99").parts
    assert parts["flags"].items["-s"] == {"same as": "--size"}
    assert "ModuleNotFoundError" in parts["routes"].unknown


def test_an_interpreter_without_sglang_is_said() -> None:
    """A wrong interpreter is a traceback, or has no flags."""
    with pytest.raises(UsageError, match="no interpreter"):
        anyio.run(introspect, "/no/such/python")
    with pytest.raises(CheckBroken, match="can't be listed"):
        anyio.run(introspect, "/bin/false")
