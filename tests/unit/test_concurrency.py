"""A lock that one holds at a time, also over processes and deaths."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import anyio
import pytest
from anyio.abc import TaskStatus

from ci.concurrency import lock, lock_within

pytestmark = pytest.mark.unit


def test_one_holds_it_at_a_time(tmp_path: Path) -> None:
    """Two runs change one thing at the same time, or a lock outlasts its context."""
    file = tmp_path / "lock"
    with lock(file) as first, lock(file) as second:
        assert first is not None
        assert second is None
    with lock(file) as third:
        assert third is not None
    assert file.stat().st_mode & 0o777 == 0o600


def test_an_error_of_its_holder_is_not_taken_for_a_taken_lock(tmp_path: Path) -> None:
    """What goes wrong under a lock is lost, or leaves it locked."""
    with pytest.raises(BlockingIOError, match="of the holder"), lock(tmp_path / "lock"):
        raise BlockingIOError("of the holder")
    with lock(tmp_path / "lock") as again:
        assert again is not None


def test_a_child_that_inherits_it_keeps_it(tmp_path: Path) -> None:
    """A server's port is given away while it loads, or is locked when it has long ended."""
    file, wait = tmp_path / "lock", [sys.executable, "-c", "input()"]
    with lock(file) as held:
        assert held is not None
        child = subprocess.Popen(wait, stdin=subprocess.PIPE, pass_fds=(held,))
    with lock(file) as other:
        assert other is None
    child.kill()
    child.communicate()
    with lock(file) as other:
        assert other is not None


async def _waited(file: Path, holds: float, seconds: float) -> bool:
    async def holder(*, task_status: TaskStatus[None]) -> None:
        with lock(file):
            task_status.started()
            await anyio.sleep(holds)

    had = False
    async with anyio.create_task_group() as tasks:
        await tasks.start(holder)
        async with lock_within(file, seconds, 0.01) as held:
            had = held is not None
        tasks.cancel_scope.cancel()
    return had


@pytest.mark.parametrize(("holds", "seconds", "had"), [(0.05, 10, True), (10, 0.05, False)])
def test_it_is_waited_for_as_long_as_was_said(
    tmp_path: Path, holds: float, seconds: float, *, had: bool
) -> None:
    """A second run gives up at once, or waits for ever."""
    assert anyio.run(_waited, tmp_path / "lock", holds, seconds) is had
