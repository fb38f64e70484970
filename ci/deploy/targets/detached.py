"""A server that outlives who started it: what it is given, and how it ends with all that it has.

CI systems end what a job leaves behind by its environment: Jenkins by `BUILD_ID`
and `JENKINS_NODE_COOKIE`, GitHub's runner by `RUNNER_TRACKING_ID`. These are taken away.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import anyio

from ci.boot.belongings import Belongings, title
from ci.boot.launch import Launch
from ci.boot.process import KILL_GRACE, command
from ci.deploy.outliving import Birth, outlive
from ci.errors import TargetFault
from ci.preflight.asked import ARGUMENTS

_SPARED = {"JENKINS_NODE_COOKIE": "dontKillMe", "RUNNER_TRACKING_ID": ""}
_LEFT = {"BUILD_ID", "JENKINS_SERVER_COOKIE", *ARGUMENTS}
"""Variables that the server doesn't inherit: what CI kills by, and secrets of a release."""
_POLL = 0.05


async def spawn(launch: Launch, log: Path, mark: str, kept: tuple[int, ...]) -> Birth | None:
    """Start a server that nothing of ours holds; return its process, None if that ended at once.

    Args:
        launch: What to start.
        log: File that gets its output. The server works in its folder, so files in flags need
            whole paths.
        mark: Finds it again.
        kept: Descriptors that it inherits.

    Raises:
        TargetFault: Nothing can be started here.
    """
    try:
        return await outlive(command(launch), log, mark, environ(launch), kept)
    except OSError as error:
        raise TargetFault(f"no server can be started ({error})") from error


def environ(launch: Launch) -> dict[str, str]:
    """Return the environment of a server; what the settings give it wins."""
    return apart(launch.environ()) | dict(launch.environment)


def apart(variables: Mapping[str, str]) -> dict[str, str]:
    """Return variables for what outlives a job of CI, and is to know none of its secrets."""
    return {name: text for name, text in variables.items() if name not in _LEFT} | _SPARED


async def end(birth: Birth | None, mark: str, grace: float) -> str:
    """End a server and all that belongs to it: SIGTERM, after `grace` seconds SIGKILL.

    Returns:
        How it ended, in one line; empty where it didn't run.

    Raises:
        TargetFault: Not even SIGKILL ends it.
    """
    belongings = Belongings(birth.group if birth else -1, mark, frozenset())
    belongings.look()
    told = ""
    if birth is not None and birth.lives:
        told = await _terminated(birth, grace)
        await _gone(belongings, KILL_GRACE if not birth.lives else 0)
    orphans = [title(one) for one in belongings.living() if birth is None or one.pid != birth.pid]
    belongings.kill()
    await _gone(belongings, KILL_GRACE)
    if left := belongings.living():
        raise TargetFault(f"pid {left[0].pid} survives SIGKILL: the system has to be looked at")
    belongings.remove()
    return f"{told}; killed after it: {'; '.join(orphans)}" if told and orphans else told


async def _gone(belongings: Belongings, most: float) -> None:
    """Wait until none of the processes lives any more, `most` seconds at the most."""
    with anyio.move_on_after(most):
        while belongings.living():
            await anyio.sleep(_POLL)


async def _terminated(birth: Birth, grace: float) -> str:
    begin = anyio.current_time()
    with suppress(ProcessLookupError):
        os.kill(birth.pid, signal.SIGTERM)
    with anyio.move_on_after(grace):
        while birth.lives:
            await anyio.sleep(_POLL)
    seconds = anyio.current_time() - begin
    if birth.lives:
        return f"killed: it did not end within {grace:g} s of SIGTERM"
    return f"ended {seconds:.1f} s after SIGTERM"
