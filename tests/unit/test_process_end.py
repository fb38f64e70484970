"""The server's end: asked, then forced; whatever happens, no process is left."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import anyio
import pytest

from ci.boot import process as processes
from ci.boot.port import members
from ci.boot.process import (
    running,
)
from ci.boot.shutdown import check_shutdown
from ci.errors import (
    LaunchBlocked,
    ServerExited,
)
from ci.report.model import Case
from ci.stages import checked
from tests.unit.shells import HANG, Fake, said

pytestmark = [pytest.mark.unit, pytest.mark.anyio]


async def test_a_death_is_told_although_a_child_holds_the_output(
    shell: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scheduler that outlives its parent hides the parent's death."""
    monkeypatch.setattr(processes, "KILL_GRACE", 0.2)
    async with running(shell('"$PYTHON" "$FAKE/stubborn.py" & sleep 0.5; exit 7')) as server:
        with anyio.fail_after(HANG):
            error = await server.died("serving")
        assert isinstance(error, ServerExited)
        assert error.exit_code == 7
    assert members(server.pid) == []


async def test_a_polite_server_is_asked_and_not_killed(shell: Fake) -> None:
    """A server that ends as it should is reported as killed."""
    async with running(
        shell("trap 'exit 0' TERM; echo up; while :; do sleep 0.05; done")
    ) as server:
        await said(server, "up")
        stopped = await server.stop(HANG)
    assert (stopped.exit_code, stopped.killed, stopped.orphans) == (0, False, ())


async def test_a_deaf_server_is_killed(shell: Fake) -> None:
    """A hung server outlives the run."""
    async with running(shell('exec "$PYTHON" "$FAKE/stubborn.py"')) as server:
        await said(server, "here")
        cases: list[Case] = []
        check = await checked("shutdown", partial(check_shutdown, server, 0.2), cases.append)
    assert [case.outcome for case in check.cases] == ["FAILED", "FAILED", "PASSED", "PASSED"]
    assert check.cause.startswith("ends in time: SIGKILL was needed after 0.2 s; --set server.stop")
    assert cases == list(check.cases)
    assert members(server.pid) == []


async def test_children_that_survive_are_named_and_killed(
    shell: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A detokenizer of a gigabyte stays behind, and nobody is told."""
    monkeypatch.setattr(processes, "KILL_GRACE", 0.3)
    grandchild = '( "$PYTHON" "$FAKE/stubborn.py" & wait ) &'
    script = f"{grandchild} trap 'exit 0' TERM; while :; do sleep 0.05; done"
    async with running(shell(script)) as server:
        await said(server, "here")
        check = await checked("shutdown", partial(check_shutdown, server, HANG))
    assert check.cases[0].outcome == check.cases[1].outcome == "PASSED"
    assert check.cases[2].outcome == "FAILED"
    assert "stubborn.py" in check.cases[2].message
    assert members(server.pid) == []


FAMILY = '"$PYTHON" "$FAKE/stubborn.py" & exec "$PYTHON" "$FAKE/stubborn.py"'


@pytest.mark.parametrize(
    "error", [ValueError("a bug"), LaunchBlocked("x", 68), KeyboardInterrupt()]
)
async def test_an_error_leaves_no_process(
    shell: Fake, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    """A bug in a check leaves a server behind, or arrives as a group of errors."""
    monkeypatch.setattr(processes, "KILL_GRACE", 0.2)
    launch, pids = shell(FAMILY), list[int]()

    async def broken() -> None:
        async with running(launch) as server:
            pids.append(server.pid)
            await said(server, "here")
            raise error

    with pytest.raises(type(error)):
        await broken()
    assert members(pids[0]) == []


@pytest.mark.parametrize("seconds", [0.0, 0.001, 0.01, 0.3])
async def test_cancellation_leaves_no_process(
    shell: Fake, monkeypatch: pytest.MonkeyPatch, seconds: float, tmp_path: Path
) -> None:
    """Ctrl-C at an unlucky moment, even while the process is being made, leaves a server."""
    monkeypatch.setattr(processes, "KILL_GRACE", 0.2)
    launch = shell(f"echo $$ >{tmp_path}/pid; {FAMILY}")
    with anyio.move_on_after(seconds):
        async with running(launch):
            await anyio.sleep_forever()
    file = tmp_path / "pid"
    assert not file.exists() or members(int(file.read_text() or 0)) == []
