"""The inventory: what an interpreter has installed, printed and read back."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from ci.errors import UsageError
from ci.image import inventory as inventories
from ci.image.inventory import inventory
from ci.versions.stage import read_inventory

pytestmark = [pytest.mark.unit, pytest.mark.anyio]


def test_the_inventory_runs_alone_and_lists_this_environment() -> None:
    """An image's interpreter can't say what it has."""
    argv = [sys.executable, "-I", inventories.__file__]
    found = json.loads(subprocess.check_output(argv, timeout=60))
    assert found["pytest"] == version("pytest")
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert found == inventory()


@pytest.mark.parametrize(
    ("text", "cuda"),
    [
        ("cuda: Optional[str] = '13.0'\nhip = None\n", "13.0"),
        ("__version__ = '2.1'\ncuda = \"12.9\"\n", "12.9"),
        ("cuda: Optional[str] = None\n", None),
        ("", None),
    ],
)
def test_the_cuda_that_torch_was_built_for(tmp_path: Path, text: str, cuda: str | None) -> None:
    """The CUDA of the image is unknown, or torch has to be imported to learn it."""
    file = tmp_path / "version.py"
    file.write_text(text)
    assert inventories._cuda(file).get("cuda") == cuda
    assert inventories._cuda(tmp_path / "missing.py") == {}


def test_an_inventory_is_read_back(tmp_path: Path) -> None:
    """What an image printed isn't understood."""
    file = tmp_path / "inventory.json"
    file.write_text(json.dumps({"SGL_Kernel": "0.4.5", "torch": 2}))
    assert read_inventory(file) == {"sgl-kernel": "0.4.5", "torch": "2"}


@pytest.mark.parametrize("content", ["", "[]", "{", "\x00", "null"])
def test_what_is_no_inventory_is_a_usage_error(tmp_path: Path, content: str) -> None:
    """A wrong file is taken for an image that has nothing installed."""
    file = tmp_path / "inventory.json"
    file.write_text(content)
    for path in (file, tmp_path / "missing", tmp_path):
        with pytest.raises(UsageError, match="not an inventory"):
            read_inventory(path)
