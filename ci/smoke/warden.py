"""Runs pytest as a child, and ends whatever its cases leave behind, what detached itself too.

`python warden.py TREE RESULTS PYTEST-ARGUMENT…`: TREE is put first where modules are looked
for (empty: it is there already), RESULTS is the file of results. A process whose parent ends
becomes a child of the nearest "subreaper" above it (prctl(2)). This process is one, so
that everything that descends from it stays a descendant, whatever it does. It stands between two
of its kind, pytest's parent and the runner: whichever of them a case kills, the other one sweeps.
"""

import ctypes
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import FrameType

GRACE = 0.3
"""Most seconds in which helpers of a process that ended well end by themselves."""
LIMIT = 5.0
"""Most seconds until everything is gone; what starts new processes all the time may outlive it."""

_TOLD = 8192
"""Most characters of a command that are told."""
_PDEATHSIG, _SUBREAPER = 1, 36


def main() -> int:
    """Run pytest; return its exit code, or die of the signal that it died of."""
    tree, results, *arguments = sys.argv[1:]
    sys.path[:0] = [tree] if tree else []
    inner = partial(_watched, Path(results), partial(_pytest, arguments))
    return _watched(Path(results), inner)


def _watched(results: Path, work: Callable[[int], int], parent: int = 0) -> int:
    """Do `work` in a child, sweep when it has ended or this process is to, and end as it did.

    Args:
        results: The file of results.
        work: Takes this process's id, and returns an exit code.
        parent: The process that this one is watched by; 0 for none of ours.
    """
    _prctl(_SUBREAPER, 1)
    me, child = os.getpid(), os.fork()
    if not child:
        return work(me)
    try:
        signal.signal(signal.SIGTERM, _stop)
        _prctl(_PDEATHSIG, signal.SIGTERM)
        if parent and os.getppid() != parent:
            _stop(0, None)
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        _tell(results, sweep(GRACE if code >= 0 else 0.0))
    except SystemExit:
        sweep(0.0)
        raise
    return _as(code)


def _pytest(arguments: list[str], parent: int) -> int:
    """Run pytest in this process, a child that doesn't outlive its parent."""
    os.setpgid(0, 0)
    _prctl(_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        return 1
    import pytest

    return pytest.main(arguments)


def _stop(_number: int, _frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise SystemExit(128 + signal.SIGTERM)


def sweep(grace: float) -> list[str]:
    """End all processes below this one, and return the commands of those that had to be.

    Args:
        grace: Seconds that they have to end by themselves.
    """
    begun, ended = time.monotonic(), dict[int, str]()
    while (living := _below()) and time.monotonic() - begun < LIMIT:
        if time.monotonic() - begun >= grace:
            ended |= living
            for pid in living:
                with suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)
    return list(ended.values())


def _below() -> dict[int, str]:
    """Return the commands of all living descendants by process id, and reap the dead ones."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return {}
    import psutil

    found = {}
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if process.status() != psutil.STATUS_ZOMBIE:
                found[process.pid] = (" ".join(process.cmdline()) or process.name())[:_TOLD]
    return found


def _tell(results: Path, ended: list[str]) -> None:
    if ended:
        with results.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps({"left": ended}) + "\n")


def _as(code: int) -> int:
    """Return an exit code; where it is a signal's, end by that signal, without a core file."""
    if code < 0:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        with suppress(OSError):
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    return abs(code)


def _prctl(option: int, value: int) -> None:
    """Set an attribute of this process, where the system has it."""
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    sys.exit(main())
