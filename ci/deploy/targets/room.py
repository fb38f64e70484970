"""Is there room for one more server? As far as can be known before it is started.

What a server will take is known by the one that runs beside it, which is of the same settings.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

import psutil

from ci.boot import gpus
from ci.errors import RegistryFault, TargetFault, UsageError
from ci.image.weight import measure
from ci.registry.access import Access
from ci.registry.reference import Reference

UNPACKED = 3.5
"""Bytes on disk while an image is pulled, for each byte of it that is transferred."""
LEAST_FREE = 200_000_000
"""Bytes of disk without which no server can be started: its log, caches, and a record."""


def disk(place: Path, need: float = LEAST_FREE) -> None:
    """See that `need` bytes are free in a folder, which may still have to be made.

    Raises:
        TargetFault: They aren't.
    """
    there = next(path for path in (place, *place.parents) if path.exists())
    free = shutil.disk_usage(there).free
    if free < need:
        raise TargetFault(
            f"{there} has {free / 1e9:.1f} GB free, and {need / 1e9:.1f} GB are needed: make room"
        )


def image(place: Path, reference: Reference, access: Access) -> None:
    """See that an image fits where images are kept, as far as both can be known from here.

    Raises:
        TargetFault: It doesn't.
    """
    if place.is_dir():
        with suppress(RegistryFault, UsageError):
            disk(place, measure(reference, access).total * UNPACKED)


def family(pid: int) -> list[psutil.Process]:
    """Return a process and all below it; none where it is gone."""
    try:
        first = psutil.Process(pid)
        return [first, *first.children(recursive=True)]
    except psutil.Error:
        return []


async def beside(pids: Collection[int], *, gpu: bool = True) -> None:
    """See that one more server fits beside one that runs.

    Args:
        pids: The processes of the one that runs.
        gpu: Whether both are on the same GPUs.

    Raises:
        TargetFault: There is less memory, or GPU memory, than that one has.
    """
    taken, free = sum(map(_own, pids)), psutil.virtual_memory().available
    if free < taken:
        raise _crowded("this machine", free, taken)
    rows = await gpus.room(pids) if gpu and pids else {}
    for name, (left, used) in rows.items():
        if left < used:
            raise _crowded(f"GPU {name}", left, used)


def _own(pid: int) -> int:
    """Return the bytes that would be free without a process."""
    try:
        return int(psutil.Process(pid).memory_full_info().uss)
    except psutil.Error:
        return 0


def _crowded(where: str, free: float, taken: float) -> TargetFault:
    return TargetFault(
        f"two servers don't fit: {where} has {free / 1e9:.1f} GB of memory free, and the one that "
        f"runs takes {taken / 1e9:.1f} GB; use the strategy replace, or give each less"
    )
