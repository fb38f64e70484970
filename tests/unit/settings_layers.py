"""Layers of settings that tests load, and how they are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ci.errors import SettingsError
from ci.settings import load


def refused(**layers: Any) -> SettingsError:
    """Return the error with which `load` refuses these layers."""
    with pytest.raises(SettingsError) as caught:
        load(**layers)
    assert len(str(caught.value).splitlines()) == 1
    return caught.value


def file_of(folder: Path, content: str, name: str = "sglang-ci.toml") -> Path:
    """Write a configuration file."""
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(content)
    return path
