"""Waiting for processes of a router, without a time of its own but that of a hang."""

from __future__ import annotations

import signal
from collections.abc import Callable
from contextlib import suppress

import anyio
import psutil

HANG = 60.0
"""Most seconds before something counts as hung."""


async def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds; hung after `HANG` seconds."""
    with anyio.fail_after(HANG):
        while not holds():
            await anyio.sleep(0.02)


def ended(process: psutil.Process) -> bool:
    """Return whether a process runs no more."""
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


async def pause(process: psutil.Process) -> None:
    """Have a process and its children stand still."""
    paused = [process, *process.children()]
    for one in paused:
        one.send_signal(signal.SIGSTOP)
    await until(lambda: all(one.status() == psutil.STATUS_STOPPED for one in paused))


def words(process: psutil.Process) -> list[str]:
    """Return a process's command line; empty where it is gone."""
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []


def kill_all(word: str) -> None:
    """Kill each process with a word in its command line, whatever state it is in."""
    for process in [one for one in psutil.process_iter() if word in words(one)]:
        with suppress(psutil.NoSuchProcess):
            process.kill()
