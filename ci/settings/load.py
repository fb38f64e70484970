"""Lay file, environment and flags over the defaults, and remember where each value came from.

Order, the later wins: defaults, `sglang-ci.toml`, variables `SGLANG_CI_SECTION__KEY`, flags
(`--set section.key=value` and their short forms). Values of variables and flags are plain
text; one that starts with `[` or `{` is read as TOML. Lists replace each other, tables are
laid over each other, and an empty table empties.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ci.errors import SettingsError
from ci.settings.explain import explain, quoted
from ci.settings.model import Settings
from ci.settings.release import PEM

FILE = "sglang-ci.toml"
PREFIX = "SGLANG_CI_"
VEILED = "server.environment"
NAMED = "environments"
"""The section whose keys are names of tables."""

_Key = tuple[str, ...]


@dataclass(frozen=True)
class _Value:
    """One value, where it was said, and the folder that relative paths in it start from."""

    value: Any
    source: str
    base: Path


@dataclass(frozen=True)
class Effective:
    """Settings in force, and the source of each value that isn't a default."""

    settings: Settings
    sources: Mapping[str, str]

    def rows(self) -> Iterator[tuple[str, str, str]]:
        """Yield key, value and source of every setting, in the order of the classes.

        Values of the server's environment may be secrets: their names alone are shown.
        """
        for section, keys in self._tables():
            for key, value in keys.items():
                name = f"{section}.{key}"
                found = {
                    source: None
                    for at, source in self.sources.items()
                    if f"{at}.".startswith(f"{name}.")
                }
                shown = dict.fromkeys(value, "…") if name == VEILED else value
                yield name, str(shown), ", ".join(found) or "default"

    def _tables(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield name and content of each table that has no further tables of settings."""
        for section, content in self.settings.model_dump(mode="json").items():
            if section == NAMED:
                yield from ((f"{section}.{name}", table) for name, table in content.items())
            else:
                yield section, content


def load(
    file: Path | None = None,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Effective:
    """Read and validate all settings.

    Args:
        file: The configuration file; `sglang-ci.toml` in `cwd`, if there is one, where None.
        environ: The environment's variables; only `SGLANG_CI_…__…` count, since SGLang has
            `SGLANG_CI_…` of its own.
        flags: Dotted key to text, as given on the command line.
        cwd: Folder against which relative paths of variables and flags are resolved.

    Raises:
        SettingsError: A key or value that isn't allowed, with its source and what is.
    """
    cwd = cwd or Path.cwd()
    values: dict[_Key, _Value] = {}
    layers = (
        _from_file(file, cwd),
        _from_environ(environ or {}, cwd),
        _from_flags(flags or {}, cwd),
    )
    for layer in layers:
        _overlay(values, layer)
    try:
        settings = Settings.model_validate(_tree(values))
    except ValidationError as error:
        sources = {key: item.source for key, item in values.items()}
        raise explain(error.errors()[0], sources) from None
    return Effective(settings, {".".join(key): item.source for key, item in values.items()})


def _from_file(file: Path | None, cwd: Path) -> dict[_Key, _Value]:
    path = file or cwd / FILE
    if file is None and not path.exists():
        return {}
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(str(path), "file", f"can't be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise SettingsError(str(path), "file", f"is not TOML: {error}") from error
    return {key: _Value(value, str(path), path.parent) for key, value in _leaves(tree)}


def _from_environ(environ: Mapping[str, str], cwd: Path) -> dict[_Key, _Value]:
    found: dict[_Key, _Value] = {}
    for name, text in environ.items():
        if name.startswith(PREFIX) and "__" in name:
            section, key, *rest = name.removeprefix(PREFIX).split("__", maxsplit=2)
            named = section.lower() == NAMED
            rest = [part.lower() for part in rest] if named else rest
            place = (section.lower(), key.lower(), *rest)
            _overlay(found, _texts(name, place, text, cwd))
    return found


def _from_flags(flags: Mapping[str, str], cwd: Path) -> dict[_Key, _Value]:
    found: dict[_Key, _Value] = {}
    for key, text in flags.items():
        _overlay(found, _texts("command line", tuple(key.split(".")), text, cwd))
    return found


def _texts(source: str, key: _Key, text: str, cwd: Path) -> dict[_Key, _Value]:
    """Return the values that one variable or flag gives."""
    value = _parse(source, ".".join(key), text)
    parts = _leaves(value, key) if isinstance(value, dict) and value else [(key, value)]
    return {at: _Value(part, source, cwd) for at, part in parts}


def _parse(source: str, key: str, text: str) -> Any:
    if not text.lstrip().startswith(("[", "{")):
        return text
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError) as error:
        raise SettingsError(source, key, f"{text!r} is not a TOML value: {error}") from error


def _leaves(tree: Mapping[str, Any], above: _Key = ()) -> Iterator[tuple[_Key, Any]]:
    for name, value in tree.items():
        key = (*above, name)
        if isinstance(value, dict) and value:
            yield from _leaves(value, key)
        else:
            yield key, value


def _overlay(values: dict[_Key, _Value], layer: Mapping[_Key, _Value]) -> None:
    for key, item in layer.items():
        for old in [old for old in values if old != key and old[: len(key)] == key]:
            del values[old]
        values[key] = item


def _tree(values: Mapping[_Key, _Value]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for key, item in values.items():
        node = tree
        for depth, name in enumerate(key[:-1], start=1):
            node = node.setdefault(name, {})
            if not isinstance(node, dict):
                source, shown = values[key[:depth]].source, ".".join(key[:depth])
                raise SettingsError(source, shown, f"{quoted(node)} is not allowed", "a table")
        node[key[-1]] = _resolve(key, item)
    return tree


_PATHS = {
    ("model", "path"),
    ("smoke", "directories"),
    ("bench", "prompts"),
    ("report", "directory"),
    ("registry", "ca_file"),
}


def _resolve(key: _Key, item: _Value) -> Any:
    key_file = key[:2] == ("trust", "keys") and PEM not in str(item.value)
    if key not in _PATHS and not key_file:
        return item.value
    if isinstance(item.value, list):
        return [item.base / part if isinstance(part, str) else part for part in item.value]
    if not item.value or not isinstance(item.value, str):
        return item.value
    return str(item.base / item.value) if key_file else item.base / item.value
