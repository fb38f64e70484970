"""Shutdown: the server ends when it is asked to, in time, and leaves nothing behind."""

from __future__ import annotations

from collections.abc import Callable

from ci.boot.process import ServerProcess, signal_name
from ci.report.model import Case, Check, now
from ci.verdict import Outcome

NAME = "shutdown"


async def check_shutdown(
    server: ServerProcess,
    grace: float,
    on_case: Callable[[Case], None],
    clean: tuple[int, ...] = (0,),
) -> Check:
    """Send SIGTERM to an idle server, and return how it ended.

    Args:
        server: The running server.
        grace: Most seconds between SIGTERM and SIGKILL.
        on_case: Is told each case as soon as it is known.
        clean: Exit codes of a good end.
    """
    started = now()
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
        on_case(case)
    return Check(name=NAME, started=started, seconds=stopped.seconds, cases=cases)


def _case(name: str, good: bool, message: str) -> Case:  # noqa: FBT001
    if good:
        return Case(name=name, outcome=Outcome.PASSED)
    return Case(name=name, outcome=Outcome.FAILED, message=message)
