"""Lay file, environment and flags over the defaults, and remember where each value came from.

Order, the later wins: defaults, `sglang-ci.toml`, variables `SGLANG_CI_SECTION__KEY`, flags
(`--set section.key=value` and their short forms). Values of variables and flags are plain
text; one that starts with `[` or `{` is read as TOML.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ci.errors import SettingsError
from ci.settings.explain import explain
from ci.settings.model import Settings

FILE = "sglang-ci.toml"
PREFIX = "SGLANG_CI_"

_Key = tuple[str, ...]


@dataclass(frozen=True)
class _Value:
    value: Any
    source: str


@dataclass(frozen=True)
class Effective:
    """Settings in force, and the source of each value that isn't a default."""

    settings: Settings
    sources: Mapping[str, str]

    def rows(self) -> Iterator[tuple[str, str, str]]:
        """Yield key, value and source of every setting, in the order of the classes."""
        for section, keys in self.settings.model_dump(mode="json").items():
            for key, value in keys.items():
                name = f"{section}.{key}"
                found = [at for at in self.sources if f"{at}.".startswith(f"{name}.")]
                yield name, str(value), self.sources[found[0]] if found else "default"


def load(
    file: Path | None = None,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Effective:
    """Read and validate all settings.

    Args:
        file: The configuration file; `sglang-ci.toml` in `cwd`, if there is one, where None.
        environ: The environment's variables; only `SGLANG_CI_…` count.
        flags: Dotted key to text, as given on the command line.
        cwd: Folder against which relative paths of variables and flags are resolved.

    Raises:
        SettingsError: A key or value that isn't allowed, with its source and what is.
    """
    cwd = cwd or Path.cwd()
    values: dict[_Key, _Value] = {}
    for layer in (_from_file(file, cwd), _from_environ(environ or {}), _from_flags(flags or {})):
        _overlay(values, layer)
    tree = _tree({key: _resolve(key, item.value, item.source, cwd) for key, item in values.items()})
    try:
        settings = Settings.model_validate(tree)
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
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(str(path), "file", f"is not TOML: {error}") from error
    return {key: _Value(value, str(path)) for key, value in _leaves(tree)}


def _from_environ(environ: Mapping[str, str]) -> dict[_Key, _Value]:
    found = {}
    for name, text in environ.items():
        if name.startswith(PREFIX):
            section, *rest = name.removeprefix(PREFIX).split("__", maxsplit=2)
            key = (section.lower(), *(part.lower() for part in rest[:1]), *rest[1:])
            found[key] = _Value(_parse(name, ".".join(key), text), name)
    return found


def _from_flags(flags: Mapping[str, str]) -> dict[_Key, _Value]:
    source = "command line"
    return {
        tuple(key.split(".")): _Value(_parse(source, key, text), source)
        for key, text in flags.items()
    }


def _parse(source: str, key: str, text: str) -> Any:
    if not text.lstrip().startswith(("[", "{")):
        return text
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError as error:
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


def _tree(values: Mapping[_Key, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for key, value in values.items():
        node = tree
        for name in key[:-1]:
            node = node.setdefault(name, {})
        node[key[-1]] = value
    return tree


_PATHS = {("model", "path"), ("smoke", "directories"), ("report", "directory")}


def _resolve(key: _Key, value: Any, source: str, cwd: Path) -> Any:
    if key not in _PATHS:
        return value
    base = Path(source).parent if Path(source).suffix == ".toml" else cwd
    if isinstance(value, list):
        return [base / item if isinstance(item, str) else item for item in value]
    return base / value if isinstance(value, str) else value
