"""The process of our own HAProxy: found by its pid file and its command line."""

from __future__ import annotations

import os
import signal
from contextlib import suppress

import psutil

from ci.deploy.routers.haproxy_config import Files


def running_in(at: Files) -> psutil.Process | None:
    """Return the running master of a folder, by its pid file and its command line."""
    try:
        process = psutil.Process(int(at.pid.read_text("ascii")))
        ours = str(at.config) in process.cmdline()
    except (OSError, ValueError, psutil.Error):
        return None
    return process if ours and runs(process) else None


def runs(process: psutil.Process) -> bool:
    """Return whether a process runs; one that nobody waited for doesn't."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def send(process: psutil.Process, number: int) -> None:
    """Send a signal to the master, and SIGKILL to its workers too."""
    with suppress(ProcessLookupError, psutil.NoSuchProcess):
        if number == signal.SIGKILL:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
