"""Which settings are paths: found by their types, wherever they stand."""

from __future__ import annotations

import os
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from ci.settings.fields import HostPath, Section
from ci.settings.model import Settings

Key = tuple[str, ...]
ANY = "*"
"""In a key: whatever name a table gives."""
UNSEEN = "can't be seen from a container"


@dataclass(frozen=True)
class NamedPath:
    """A path that settings name.

    Args:
        key: The setting, dotted.
        mark: What its type says of it.
        path: The path, as it was resolved.
    """

    key: str
    mark: HostPath
    path: Path

    def told(self, base: Path) -> str:
        """Return the path as a settings file in the folder `base` has it, without its `..`."""
        path = Path(os.path.normpath(self.path))
        return str(path.relative_to(base) if path.is_relative_to(base) else path)

    def cure(self, base: Path) -> str:
        """Return what brings it into a container, from a settings file in the folder `base`."""
        told, mark = self.told(base), self.mark
        if not mark.argument:
            return "name it by its full path in the image"
        if not mark.beside:
            return f"pass {mark.argument} {told}"
        inside = told.removeprefix(f"{mark.beside}/")
        if inside != told:
            return f"pass {mark.argument} DIR with {inside} in it"
        name = self.path.name
        return f"pass {mark.argument} DIR with {name} in it, and write {mark.beside}/{name} here"


def fields(section: type[Section]) -> Iterator[tuple[Key, Any, HostPath | None]]:
    """Yield key, type and mark of every value that may stand in a section, at any depth."""
    for name, field in section.model_fields.items():
        for key, kind, mark in _values(field.annotation, tuple(field.metadata)):
            yield (name, *key), kind, mark


def _values(kind: Any, metadata: Sequence[Any]) -> Iterator[tuple[Key, Any, HostPath | None]]:
    """Yield what stands in a value of a type; items of a list have their list's key."""
    mark = next((one for one in metadata if isinstance(one, HostPath)), None)
    origin, parts = get_origin(kind), get_args(kind)
    if mark or origin is Literal or not (parts or isinstance(kind, type)):
        yield (), kind, mark
    elif origin is Annotated:
        yield from _values(parts[0], parts[1:])
    elif origin is dict:
        yield from (((ANY, *key), below, one) for key, below, one in _values(parts[1], ()))
    elif parts:
        for part in parts:
            yield from _values(part, ())
    elif issubclass(kind, Section):
        yield from fields(kind)
    else:
        yield (), kind, None


@cache
def places() -> dict[Key, HostPath]:
    """Return the mark of every path among the settings, by its key."""
    return {key: mark for key, _, mark in fields(Settings) if mark}


def resolved(key: Key, value: Any, base: Path) -> Any:
    """Return a setting's value; a relative path in it starts at the folder `base`."""
    mark = next((mark for place, mark in places().items() if _fits(place, key)), None)
    if mark is None:
        return value
    if isinstance(value, list):
        return [_placed(mark, one, base) for one in value]
    return _placed(mark, value, base)


def _fits(place: Key, key: Key) -> bool:
    return len(place) == len(key) and all(
        part in {ANY, name} for part, name in zip(place, key, strict=True)
    )


def _placed(mark: HostPath, value: Any, base: Path) -> Any:
    return str(base / value) if isinstance(value, str) and _is_path(mark, value) else value


def _is_path(mark: HostPath, text: str) -> bool:
    """Return whether a value is a path, and not unset, a program's name or the content itself."""
    named = mark.kind == "program" and "/" not in text
    return bool(text) and not named and not (mark.content and mark.content in text)


def named(settings: Settings) -> Iterator[NamedPath]:
    """Yield every path that settings name."""
    for place, mark in places().items():
        for key, value in _found(settings, place):
            if value is not None and _is_path(mark, str(value)):
                yield NamedPath(".".join(key), mark, Path(value))


def moved(settings: Settings, move: Callable[[HostPath, Path], Path]) -> Settings:
    """Return settings with each path that they name where `move` says, by its mark and itself."""
    tree = settings.model_dump(mode="json")
    for place, mark in places().items():
        tree = _moved(tree, place, mark, move)
    return Settings.model_validate(tree)


def _moved(at: Any, place: Key, mark: HostPath, move: Callable[[HostPath, Path], Path]) -> Any:
    if place:
        return {
            name: _moved(value, place[1:], mark, move) if place[0] in {ANY, name} else value
            for name, value in at.items()
        }
    if isinstance(at, list):
        return [_moved(one, place, mark, move) for one in at]
    return str(move(mark, Path(at))) if isinstance(at, str) and _is_path(mark, at) else at


def unseen(
    settings: Settings, base: Path, given: Container[str], uses: Container[str]
) -> Iterator[NamedPath]:
    """Yield every path that a container can't see.

    Args:
        settings: The settings, of a file in the folder `base`.
        base: That folder.
        given: Arguments of the module that were passed, such as `--model`.
        uses: For what the paths would be needed, as their marks say.
    """
    for one in named(settings):
        mark, told = one.mark, one.told(base)
        inside = not mark.beside or told.startswith(f"{mark.beside}/")
        fixed = mark.use == "image" and one.path.is_absolute() and not one.path.is_relative_to(base)
        if mark.needed(uses) and not fixed and not (mark.argument in given and inside):
            yield one


def _found(at: Any, place: Key, above: Key = ()) -> Iterator[tuple[Key, Any]]:
    """Yield key and value of everything that stands at a place."""
    if not place:
        values = at if isinstance(at, tuple) else (at,)
        yield from ((above, value) for value in values)
        return
    names = tuple(at) if place[0] == ANY else place[:1]
    for name in names:
        below = at[name] if isinstance(at, Mapping) else getattr(at, name)
        yield from _found(below, place[1:], (*above, name))
