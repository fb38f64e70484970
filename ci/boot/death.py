"""Why a server ended by itself, as an error of this package."""

from __future__ import annotations

import re
import signal

from ci.boot.launch import BLOCKED, REFUSED
from ci.boot.log import ServerLog
from ci.errors import LaunchBlocked, LaunchRefused, ServerExited, SglangCiError

_CHILD_KILLED = re.compile(r"exit code -9\b")
KILLED = "SIGKILL, which the kernel sends for lack of memory"
SILENT = "it says nothing of its end, as one that is killed for lack of memory"


def fault_of_exit(
    exit_code: int | None, phase: str, log: ServerLog, memory: str | None = None
) -> SglangCiError:
    """Return the error for a server that ended by itself with `exit_code`.

    Where its log can't be read any more nothing is known of its end, and that is the error.

    Args:
        exit_code: Negative for a signal; None where nobody saw it.
        phase: What it was doing.
        log: Its log.
        memory: That something was killed for memory meanwhile, in words; empty where nothing
            was, None where that isn't known.
    """
    if log.fault:
        return log.fault
    if exit_code in REFUSED:
        return LaunchRefused(log.explain(), exit_code)
    if exit_code in BLOCKED:
        return LaunchBlocked(log.explain(), exit_code)
    return exited(exit_code, phase, log, memory)


def exited(exit_code: int | None, phase: str, log: ServerLog, memory: str | None) -> ServerExited:
    """Return the error where the exit code is the server's own; arguments as above."""
    how = signal_name(-exit_code) if exit_code is not None and exit_code < 0 else ""
    told = [_guess(exit_code, log) or how] if memory is None else [how, memory]
    cause = "; ".join(filter(None, [*told, log.explain()]))
    return ServerExited(exit_code, phase, cause, log.tail())


def _guess(exit_code: int | None, log: ServerLog) -> str:
    """Return how the end looks like one for lack of memory; empty where it doesn't."""
    reason = log.reason()
    if exit_code == -signal.SIGKILL or _CHILD_KILLED.search(reason):
        return KILLED
    return SILENT if exit_code is None and not reason else ""


def signal_name(number: int) -> str:
    """Return a signal's name; real-time signals have none."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
