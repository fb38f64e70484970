"""Which processes have memory on this host's GPUs, as the driver tells it."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from subprocess import DEVNULL

import anyio

QUERY = ("nvidia-smi", "--query-compute-apps=pid,used_gpu_memory", "--format=csv,noheader")
FREE = ("nvidia-smi", "--query-gpu=uuid,memory.free", "--format=csv,noheader,nounits")
USED = (
    "nvidia-smi",
    "--query-compute-apps=gpu_uuid,pid,used_gpu_memory",
    "--format=csv,noheader,nounits",
)
TAKEN = ("nvidia-smi", "--query-gpu=uuid,memory.used", "--format=csv,noheader,nounits")
NAMES = ("nvidia-smi", "--query-gpu=name", "--format=csv,noheader")
SECONDS = 20.0
_MIB = 2**20


async def count() -> int | None:
    """Return how many GPUs this host has; None where its driver tells of none."""
    rows = await _rows(NAMES)
    return None if rows is None else len(rows)


async def held(pids: Collection[int]) -> list[str] | None:
    """Return what those of the processes hold that have GPU memory, in words.

    None where there is no GPU, or its driver doesn't answer.
    """
    rows = await _rows(QUERY)
    if rows is None:
        return None
    return [
        f"pid {pid}: {' '.join(used)}"
        for pid, *used in rows
        if pid.isdecimal() and int(pid) in pids
    ]


async def used() -> dict[str, int]:
    """Return the MiB that are in use on each GPU; nothing where the driver tells of none."""
    rows = await _rows(TAKEN) or []
    return {row[0]: int(row[1]) for row in rows if row[-1].isdecimal()}


async def room(pids: Collection[int]) -> dict[str, tuple[int, int]]:
    """Return of each GPU on which the processes have memory what is free, and what is theirs.

    Both are bytes. Nothing is returned where no GPU, or no answer of its driver, is to be had.
    """
    free, used = await _rows(FREE), await _rows(USED)
    found: dict[str, int] = {}
    for name, pid, size in (row for row in used or [] if len(row) == len(("gpu", "pid", "MiB"))):
        if pid.isdecimal() and int(pid) in pids and size.isdecimal():
            found[name] = found.get(name, 0) + int(size) * _MIB
    left = {row[0]: int(row[1]) * _MIB for row in free or [] if row[-1].isdecimal()}
    return {name: (left[name], size) for name, size in found.items() if name in left}


async def _rows(query: tuple[str, ...]) -> list[list[str]] | None:
    """Return the driver's answer; None where there is no GPU, or no answer."""
    if not shutil.which(query[0]):
        return None
    with anyio.move_on_after(SECONDS):
        done = await anyio.run_process(query, stdin=DEVNULL, stderr=DEVNULL, check=False)
        if done.returncode == 0:
            lines = done.stdout.decode("utf-8", "replace").splitlines()
            return [[word.strip() for word in line.split(",")] for line in lines]
    return None
