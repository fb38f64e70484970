"""Shutdown: the server ends when it is asked to, in time, and leaves nothing behind."""

from __future__ import annotations

from ci.boot.process import ServerProcess, signal_name
from ci.report.model import Case
from ci.stages import StageResult, Tell
from ci.verdict import Outcome

NAME = "shutdown"


async def check_shutdown(
    server: ServerProcess, grace: float, tell: Tell, *, clean: tuple[int, ...] = (0,)
) -> StageResult:
    """Send SIGTERM to an idle server, and judge how it ended.

    Args:
        server: The running server.
        grace: Most seconds between SIGTERM and SIGKILL.
        tell: Is told each case.
        clean: Exit codes of a good end.
    """
    stopped = await server.stop(grace)
    how = f"it ended with {stopped.exit_code}"
    if stopped.exit_code < 0:
        how = f"it was ended by {signal_name(-stopped.exit_code)}"
    cases = (
        _case("ends in time", not stopped.killed, f"SIGKILL was needed after {grace:g} s"),
        _case(f"exit code {' or '.join(map(str, clean))}", stopped.exit_code in clean, how),
        _case("leaves no process", not stopped.orphans, f"left: {'; '.join(stopped.orphans)}"),
    )
    for case in cases:
        tell(case)
    return StageResult()


def _case(name: str, good: bool, message: str) -> Case:  # noqa: FBT001
    if good:
        return Case(name=name, outcome=Outcome.PASSED)
    return Case(name=name, outcome=Outcome.FAILED, message=message)
