"""Paths of settings that are used on another host: what goes along, and what lies there already.

One rule for all, by their marks: a small file of the caller's own (`HostPath.travels`) goes along.
Any other path names something of the host. A relative one, which starts at the settings file here,
starts there at the user's home folder.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable
from pathlib import Path

from ci.deploy.remote.order import opened
from ci.errors import HostFault, UsageError
from ci.settings import Settings
from ci.settings.fields import HostPath
from ci.settings.paths import moved, named

MOST = 16 * 2**20
"""Most bytes that go along."""
_LEFT_OUT = {"__pycache__", ".git", ".pytest_cache"}


def there(settings: Settings, bases: Iterable[Path]) -> Settings:
    """Return settings with the paths of the host as their file has them.

    Args:
        settings: The settings in force, here.
        bases: Folders from which relative paths were resolved.
    """
    known = [base.absolute() for base in bases]

    def move(mark: HostPath, path: Path) -> Path:
        base = next((base for base in known if path.is_relative_to(base)), None)
        return path if mark.travels or base is None else path.relative_to(base)

    return moved(settings, move)


def pack(settings: Settings) -> tuple[Settings, bytes]:
    """Return settings with the places in the tar of what goes along, and that tar; empty for none.

    Raises:
        UsageError: A file can't be read, or they are too large.
    """
    going = {one.path: one.key for one in named(settings) if one.mark.travels}
    if not going:
        return settings, b""
    places = {path: Path(str(number)) for number, path in enumerate(going)}
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", dereference=True) as tar:
        for path, place in places.items():
            _add(tar, path, place, going[path])

    def move(mark: HostPath, path: Path) -> Path:
        return places[path] if mark.travels else path

    return moved(settings, move), stream.getvalue()


def _add(tar: tarfile.TarFile, path: Path, place: Path, key: str) -> None:
    def chosen(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
        if not (member.isreg() or member.isdir()) or Path(member.name).name in _LEFT_OUT:
            return None
        if tar.offset + member.size > MOST:
            raise UsageError(f"{key}: {path}: more than {MOST >> 20} MiB can't go to another host")
        return member

    try:
        tar.add(path, str(place), filter=chosen)
    except OSError as error:
        raise UsageError(f"{key}: {error.filename or path}: {error.strerror}") from error


def unpack(settings: Settings, content: bytes, folder: Path) -> Settings:
    """Put what came along into a folder, and return settings that name it there.

    Raises:
        HostFault: What came can't be unpacked.
    """
    if content:
        try:
            with opened(content) as (tar, members):
                tar.extractall(folder, members, filter="data")
        except tarfile.TarError as error:
            raise HostFault("this host", f"what came along can't be unpacked: {error}") from error

    def move(mark: HostPath, path: Path) -> Path:
        return folder / path if mark.travels else path

    return moved(settings, move)
