"""Shutdown: the server ends when it is asked to, in time, and leaves nothing behind."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatch

from ci.boot import gpus
from ci.boot.death import signal_name
from ci.boot.process import ServerProcess
from ci.report.model import Case
from ci.stages import StageResult, Tell
from ci.verdict import Outcome

NAME = "shutdown"


async def check_shutdown(
    server: ServerProcess,
    grace: float,
    tell: Tell,
    *,
    clean: tuple[int, ...] = (0,),
    leaves: tuple[str, ...] = (),
) -> StageResult:
    """Send SIGTERM to an idle server, and judge how it ended.

    Args:
        server: The running server.
        grace: Most seconds between SIGTERM and SIGKILL.
        tell: Is told each case.
        clean: Exit codes of a good end.
        leaves: Patterns of the shared memory that a good server of its kind leaves.
    """
    stopped = await server.stop(grace)
    how = f"it ended with {stopped.exit_code}"
    if stopped.exit_code < 0:
        how = f"it was ended by {signal_name(-stopped.exit_code)}"
    late = f"SIGKILL was needed after {grace:g} s; --set server.stop_grace=SECONDS gives it more"
    cases = (
        _case("ends in time", not stopped.killed, late),
        _case(f"exit code {' or '.join(map(str, clean))}", stopped.exit_code in clean, how),
        _case("leaves no process", not stopped.orphans, f"left: {'; '.join(stopped.orphans)}"),
        _memory(stopped.left, leaves),
        *_gpu_memory(await gpus.held(server.belongings.pids)),
    )
    for case in cases:
        tell(case)
    return StageResult()


def _memory(left: tuple[str, ...], known: tuple[str, ...]) -> Case:
    """Judge what was left in /dev/shm, which is removed by now: semaphores are called `sem.`."""
    name = "leaves no shared memory"
    odd = [one for one in left if not any(fnmatch(one, pattern) for pattern in known)]
    if odd:
        return _case(name, good=False, message=f"it left, in /dev/shm: {', '.join(odd)}")
    told = f"but for what this engine always leaves, removed now: {', '.join(left)}"
    return Case(name=name, outcome=Outcome.PASSED, message=told if left else "")


def _gpu_memory(held: list[str] | None) -> Iterator[Case]:
    if held is not None:
        yield _case("leaves no GPU memory", not held, f"still held: {'; '.join(held)}")


def _case(name: str, good: bool, message: str) -> Case:  # noqa: FBT001
    if good:
        return Case(name=name, outcome=Outcome.PASSED)
    return Case(name=name, outcome=Outcome.FAILED, message=message)
