"""Lay file, environment and flags over the defaults, and remember where each value came from.

Order, the later wins: defaults, `sglang-ci.toml`, variables `SGLANG_CI_SECTION__KEY`, flags
(`--set section.key=value` and their short forms). Values of variables and flags are plain
text; one that starts with `[` or `{` is read as TOML. Lists replace each other, tables are
laid over each other, and an empty table empties.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ci.errors import SettingsError
from ci.secrets.veil import VEIL, learn_environment, learn_flags, veiled_data
from ci.settings.explain import VEILED, explain, nearly, quoted
from ci.settings.model import Settings
from ci.settings.paths import resolved

FILE = "sglang-ci.toml"
PREFIX = "SGLANG_CI_"
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
                shown = dict.fromkeys(value, VEIL) if name == VEILED else veiled_data(value)
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
        SettingsError: A key or value that isn't allowed, with its source and what is; `others`
            holds all further ones.
    """
    effective, wrong = read(file, environ, flags, cwd)
    if wrong:
        first, *others = wrong
        first.others = tuple(others)
        raise first
    return effective


def read(
    file: Path | None = None,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> tuple[Effective, tuple[SettingsError, ...]]:
    """Return what `load` does, made of the settings that are right, and all that is wrong.

    From then on no secret in the server's flags and environment is shown.
    """
    values: dict[_Key, _Value] = {}
    wrong: list[SettingsError] = []
    for layer in _layers(file, environ or {}, flags or {}, cwd or Path.cwd()):
        try:
            _overlay(values, layer())
        except SettingsError as error:
            wrong.append(error)
    settings, invalid = _validated(values)
    learn_flags(settings.server.flags)
    learn_environment(settings.server.environment)
    sources = {".".join(key): item.source for key, item in values.items()}
    return Effective(settings, sources), (*wrong, *invalid)


def _validated(values: dict[_Key, _Value]) -> tuple[Settings, list[SettingsError]]:
    """Return the settings without what isn't allowed, and why it isn't.

    What is left out may make something else wrong, which says nothing of what was given.
    """
    told: list[SettingsError] = []
    sources = {key: item.source for key, item in values.items()}
    left, before = dict(values), len(values) + 1
    while len(left) < before:
        try:
            return Settings.model_validate(_tree(left)), told
        except ValidationError as error:
            found = error.errors()
        told = told or [explain(one, sources) for one in found]
        bad, before = [tuple(map(str, one["loc"])) for one in found], len(left)
        left = {key: item for key, item in left.items() if not _touched(key, bad)}
    return Settings(), told


def _touched(key: _Key, places: Sequence[_Key]) -> bool:
    """Return whether one of `places` lies at, above or below a key."""
    return any(key[: len(place)] == place[: len(key)] for place in places)


def _layers(
    file: Path | None, environ: Mapping[str, str], flags: Mapping[str, str], cwd: Path
) -> Iterator[Callable[[], dict[_Key, _Value]]]:
    """Yield what reads the file, each variable and each flag: one that is wrong hides no other."""
    yield partial(_from_file, file, cwd)
    for name, text in environ.items():
        yield partial(_from_variable, name, text, cwd)
    for key, text in flags.items():
        yield partial(_texts, "command line", tuple(key.split(".")), text, cwd)


def _from_file(file: Path | None, cwd: Path) -> dict[_Key, _Value]:
    path = file or cwd / FILE
    if file is None and not path.exists():
        return {}
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise SettingsError(str(path), "file", f"can't be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        problem = "is not TOML: not UTF-8: save it as UTF-8"
        raise SettingsError(str(path), "file", problem) from error
    except (ValueError, RecursionError) as error:
        raise SettingsError(str(path), "file", f"is not TOML: {error}") from error
    return {key: _Value(value, str(path), path.parent) for key, value in _leaves(tree)}


def _from_variable(name: str, text: str, cwd: Path) -> dict[_Key, _Value]:
    if not (name.startswith(PREFIX) and "__" in name):
        if meant := nearly(name, PREFIX):
            right = PREFIX + "__".join(meant).upper()
            raise SettingsError(name, ".".join(meant), f"is read by no setting: write {right}")
        return {}
    section, key, *rest = name.removeprefix(PREFIX).split("__", maxsplit=2)
    named = section.lower() == NAMED
    rest = [part.lower() for part in rest] if named else rest
    return _texts(name, (section.lower(), key.lower(), *rest), text, cwd)


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
        problem = f"{quoted(key, text)} is not a TOML value: {error}"
        raise SettingsError(source, key, problem) from error


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
    """Return the values as tables; none stands below a value that is no table."""
    tree: dict[str, Any] = {}
    for key, item in values.items():
        node: Any = tree
        for name in key[:-1]:
            node = node.setdefault(name, {}) if isinstance(node, dict) else None
        if isinstance(node, dict):
            node[key[-1]] = resolved(key, item.value, item.base)
    return tree
