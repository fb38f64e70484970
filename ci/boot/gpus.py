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
NAMES = ("nvidia-smi", "--query-gpu=name", "--format=csv,noheader")
SECONDS = 20.0
_MIB = 2**20


async def count() -> int | None:
    """Return how many GPUs this host has; None where its driver tells of none."""
    rows = await answer(NAMES)
    return None if rows is None else len(rows)


async def held(pids: Collection[int]) -> list[str] | None:
    """Return what those of the processes hold that have GPU memory, in words.

    None where there is no GPU, or its driver doesn't answer.
    """
    rows = await answer(QUERY)
    if rows is None:
        return None
    return [
        f"pid {pid}: {' '.join(used)}"
        for pid, *used in rows
        if pid.isdecimal() and int(pid) in pids
    ]


async def room(pids: Collection[int]) -> dict[str, tuple[int, int]]:
    """Return of each GPU on which the processes have memory what is free, and what is theirs.

    Both are bytes. Nothing is returned where no GPU, or no answer of its driver, is to be had.
    """
    free, used = await answer(FREE), await answer(USED)
    found: dict[str, int] = {}
    for name, pid, size in (row for row in used or [] if len(row) == len(("gpu", "pid", "MiB"))):
        if pid.isdecimal() and int(pid) in pids and size.isdecimal():
            found[name] = found.get(name, 0) + int(size) * _MIB
    left = {row[0]: int(row[1]) * _MIB for row in free or [] if row[-1].isdecimal()}
    return {name: (left[name], size) for name, size in found.items() if name in left}


async def answer(query: tuple[str, ...]) -> list[list[str]] | None:
    """Return the words of each line of `nvidia-smi`; None where it is missing or fails."""
    if not shutil.which(query[0]):
        return None
    with anyio.move_on_after(SECONDS):
        done = await anyio.run_process(query, stdin=DEVNULL, stderr=DEVNULL, check=False)
        if done.returncode == 0:
            lines = done.stdout.decode("utf-8", "replace").splitlines()
            return [[word.strip() for word in line.split(",")] for line in lines]
    return None
