"""Which processes have memory on this host's GPUs, as the driver tells it."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from subprocess import DEVNULL

import anyio

QUERY = ("nvidia-smi", "--query-compute-apps=pid,used_gpu_memory", "--format=csv,noheader")
SECONDS = 20.0


async def held(pids: Collection[int]) -> list[str] | None:
    """Return what those of the processes hold that have GPU memory, in words.

    None where there is no GPU, or its driver doesn't answer.
    """
    if not shutil.which(QUERY[0]):
        return None
    with anyio.move_on_after(SECONDS):
        done = await anyio.run_process(QUERY, stdin=DEVNULL, stderr=DEVNULL, check=False)
        rows = [line.split(",") for line in done.stdout.decode("utf-8", "replace").splitlines()]
        if done.returncode == 0:
            return [
                f"pid {pid.strip()}: {' '.join(used).strip()}"
                for pid, *used in rows
                if pid.strip().isdecimal() and int(pid) in pids
            ]
    return None
