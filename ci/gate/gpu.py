"""What else happens on the GPUs of our servers while a block is measured, as the driver tells it.

Another process there counts where it computes, and where the driver can't tell that, by its memory.
A GPU that is too hot, or short of power, runs slower for whoever uses it. Its own cap on power
(`SW power cap`) is none of that: it comes with the load, on both sides alike.
Source: `nvidia-smi --help-query-gpu` and `nvml.h` (`nvmlClocksEventReason…`) of driver 580.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import asynccontextmanager

import anyio

from ci.boot import gpus
from ci.concurrency import one_error

STATE = (
    "nvidia-smi",
    "--query-gpu=uuid,index,clocks.sm,clocks_event_reasons.active",
    "--format=csv,noheader,nounits",
)
USERS = (
    "nvidia-smi",
    "--query-compute-apps=gpu_uuid,pid,process_name,used_gpu_memory",
    "--format=csv,noheader,nounits",
)
USAGE = ("nvidia-smi", "pmon", "-c", "1", "-s", "u")
"""What each process computes, in columns: index of the GPU, process, type, per cent of its time."""
BUSY = 5
"""Per cent of a GPU's time from which on another process disturbs."""
SLOWED = {
    0x08: "by its hardware",
    0x20: "as it is too hot",
    0x40: "as its hardware is too hot",
    0x80: "by the power supply's brake",
}
"""Bits of the reasons for a clock, where each is a slow-down that nobody asked for."""
_COLUMNS = 4
LOOK = 0.5
"""Seconds between two looks: each takes up to three calls of `nvidia-smi`, of 0.02 to 0.05 s."""

Answer = Callable[[tuple[str, ...]], Awaitable[list[list[str]] | None]]
"""Returns the words of each line of `nvidia-smi`; None where it is missing or fails."""


class GpuWatch:
    """The GPUs of this host.

    Args:
        answer: Asks the driver.
    """

    def __init__(self, answer: Answer = gpus.answer) -> None:
        self._answer = answer

    async def look(self, ours: Collection[int]) -> list[str] | None:
        """Return what disturbs the GPUs on which one of our processes has memory.

        None where no driver answers.

        Args:
            ours: Ids of our processes.
        """
        answered = await self._answer(USERS)
        if answered is None:
            return None
        users = [row for row in answered if len(row) >= _COLUMNS]
        here = {row[0] for row in users if _pid(row) in ours}
        if not here:
            return []
        state = {row[0]: row[1:] for row in await self._answer(STATE) or []}
        names = {uuid: f"GPU {state[uuid][0]}" if uuid in state else "the GPU" for uuid in here}
        told = [
            line for uuid in sorted(here & {*state}) for line in _slowed(names[uuid], state[uuid])
        ]
        guests = [row for row in users if row[0] in here and _pid(row) not in ours]
        usage = _usage(await self._answer(USAGE)) if guests else None
        for row in guests:
            if usage is not None and usage.get(_pid(row), 0) < BUSY:
                continue
            did = "has memory" if usage is None else "computed"
            told.append(f"{' '.join(row[2:-1])} ({row[1]}) {did} on {names[row[0]]}")
        return told

    @asynccontextmanager
    async def watched(self, ours: Collection[int]) -> AsyncIterator[Collection[str]]:
        """Look before and while the context lasts; yield what was seen so far, each once."""
        first = await self.look(ours) if ours else None
        if first is None:
            yield ()
            return
        seen = dict.fromkeys(first)

        async def watch() -> None:
            while True:
                await anyio.sleep(LOOK)
                seen.update(dict.fromkeys(await self.look(ours) or ()))

        with one_error():
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(watch)
                yield seen
                tasks.cancel_scope.cancel()


def _pid(row: Sequence[str]) -> int:
    return int(row[1]) if row[1].isdecimal() else -1


def _usage(rows: list[list[str]] | None) -> dict[int, int] | None:
    """Return the per cent that each process took of its GPU; None where the driver can't tell."""
    if rows is None:
        return None
    found = {}
    for columns in (" ".join(row).split() for row in rows):
        if len(columns) >= _COLUMNS and columns[1].isdecimal():
            found[int(columns[1])] = int(columns[3]) if columns[3].isdecimal() else 0
    return found


def _slowed(name: str, state: Sequence[str]) -> Iterator[str]:
    """Yield each slow-down of a GPU, with the clock that it left."""
    *_, clock, reasons = state
    bits = int(reasons, 16) if reasons.startswith("0x") else 0
    for bit, reason in SLOWED.items():
        if bits & bit:
            yield f"{name} was slowed down {reason} ({clock} MHz)"
