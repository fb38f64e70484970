"""Settings: no bytes, tree, variable or flag ends in anything but a value or one line."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from ci.errors import SettingsError
from ci.settings import Settings, load

pytestmark = pytest.mark.unit


ROOT = Path(__file__).parents[2]


def complaint(*layers: Any) -> str:
    """Return the message with which `load` refuses these layers; empty where it takes them."""
    try:
        load(*layers)
    except SettingsError as error:
        return str(error)
    return ""


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=10),
    st.dates(),
    st.datetimes(),
    st.times(),
)

NAMES = st.sampled_from(
    [
        *Settings.model_fields,
        *("path", "port", "flags", "environment", "expected", "name", ""),
        *("keys", "identities", "allow", "prod", "after", "signers", "approvals"),
    ]
)

PLACES = st.lists(NAMES, min_size=1, max_size=3)
TREES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)


@examples(max_examples=100, deadline=None)
@given(
    st.dictionaries(NAMES, TREES, max_size=4),
    st.dictionaries(PLACES.map("__".join), st.text(max_size=12), max_size=3),
    st.dictionaries(PLACES.map(".".join), st.text(max_size=12), max_size=3),
)
def test_garbage_is_refused_and_never_breaks(
    tree: dict[str, Any], environ: dict[str, str], flags: dict[str, str]
) -> None:
    """Some value in some layer ends in a traceback instead of one line."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tomllib, "loads", _tree_or_value(tree))
        prefixed = {f"SGLANG_CI_{name}": text for name, text in environ.items()}
        message = complaint(ROOT / "pyproject.toml", prefixed, flags, Path("/"))
    assert len(message.splitlines()) <= 1


def _tree_or_value(tree: dict[str, Any]) -> Callable[[str], dict[str, Any]]:
    real = tomllib.loads
    return lambda text: real(text) if text.startswith("value = ") else tree


@examples(max_examples=100, deadline=None)
@given(st.binary(max_size=60))
def test_bytes_are_settings_or_refused(
    tmp_path_factory: pytest.TempPathFactory, raw: bytes
) -> None:
    """Some file ends in a traceback instead of one line."""
    path = tmp_path_factory.getbasetemp() / "garbage.toml"
    path.write_bytes(raw)
    message = complaint(path, {}, {}, path.parent)
    assert not message or message.startswith(f"{path}: ")


@pytest.mark.parametrize(
    "text",
    ["{X_TOKEN='planted-66'", '["X_TOKEN=planted-66"]', "X_TOKEN=planted-66", "{A = {B = 1}}"],
)
def test_a_wrong_environment_is_told_without_its_values(text: str) -> None:
    """A slip of the pen in variables, which may all be secrets, shows them."""
    said = complaint(None, {}, {"server.environment": text})
    assert "server.environment" in said
    assert "planted" not in said
    assert "planted" not in complaint(None, {"SGLANG_CI_SERVER__ENVIRONMENT": text})
