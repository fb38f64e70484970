"""A death for lack of memory is told as one: the kernel itself only sends SIGKILL."""

from __future__ import annotations

from pathlib import Path

import pytest

from ci.boot import memory as memories
from ci.boot.death import KILLED, SILENT, fault_of_exit
from ci.boot.log import ENDED, ServerLog
from ci.boot.memory import Memory
from ci.boot.process import running
from tests.unit.shells import Fake, said

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

MOUNTS = """\
31 24 0:27 / {root}/v1 rw - cgroup cgroup rw,cpu
32 24 0:28 {mounted} {root}/v1m rw shared:1 - cgroup cgroup rw,memory
33 24 0:29 / {root}/v2 rw - cgroup2 cgroup2 rw
34 24 0:30 / / rw - ext4 /dev/vda rw
"""
V1 = "4:memory:/limited/one\n3:cpu:/\n0::/\n"
V2 = "0::/limited/one\n"


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A /proc in which process 7 has a cgroup, and nothing was killed."""
    monkeypatch.setattr(memories, "PROC", tmp_path / "proc")
    for name in ("proc/7", "proc/self", "v1m/limited/one", "v2/limited/one"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "proc/self/mountinfo").write_text(MOUNTS.format(root=tmp_path, mounted="/"))
    (tmp_path / "proc/vmstat").write_text("pgfault 5\noom_kill 3\n")
    (tmp_path / "proc/7/cgroup").write_text(V2)
    (tmp_path / "v2/limited/one/memory.events").write_text("oom 1\noom_kill 1\n")
    (tmp_path / "v2/limited/one/memory.max").write_text("max\n")
    (tmp_path / "v2/limited/memory.max").write_text("943718400\n")
    (tmp_path / "v1m/limited/one/memory.oom_control").write_text("under_oom 0\noom_kill 0\n")
    (tmp_path / "v1m/limited/one/memory.limit_in_bytes").write_text("943718400\n")
    (tmp_path / "v1m/limited/memory.limit_in_bytes").write_text("9223372036854771712\n")
    return tmp_path


def seen(pid: int = 7) -> Memory:
    """Return the counters as they are before anything is killed."""
    memory = Memory()
    memory.look(pid)
    return memory


def test_nothing_was_killed(proc: Path) -> None:
    """Every death is blamed on memory, or what was killed before a server's start is."""
    assert seen().told() == ""
    assert seen(8).told() == ""


def test_killed_in_a_cgroup_of_version_2(proc: Path) -> None:
    """A container's memory limit ends a server, and the report says SIGKILL alone."""
    memory = seen()
    (proc / "v2/limited/one/memory.events").write_text("oom 2\noom_kill 2\n")
    file = proc / "v2/limited/memory.max"
    assert memory.told() == f"killed for memory: the limit of 900 MiB is {file}"


def test_killed_in_a_cgroup_of_version_1(proc: Path) -> None:
    """The same where cgroups are of the old kind."""
    (proc / "proc/7/cgroup").write_text(V1)
    memory = seen()
    (proc / "v1m/limited/one/memory.oom_control").write_text("under_oom 0\noom_kill 1\n")
    file = proc / "v1m/limited/one/memory.limit_in_bytes"
    assert memory.told() == f"killed for memory: the limit of 900 MiB is {file}"


def test_a_container_sees_its_own_cgroup_as_the_root(proc: Path) -> None:
    """In a container, whose cgroup is mounted as the root, nothing is ever seen."""
    text = MOUNTS.format(root=proc, mounted="/limited")
    (proc / "proc/self/mountinfo").write_text(text)
    (proc / "proc/7/cgroup").write_text(V1)
    (proc / "v1m/one").mkdir()
    (proc / "v1m/one/memory.oom_control").write_text("oom_kill 0\n")
    memory = seen()
    (proc / "v1m/one/memory.oom_control").write_text("oom_kill 4\n")
    assert memory.told() == f"killed for memory: the kernel counts it in {proc / 'v1m/one'}"


def test_counters_that_can_not_be_read(proc: Path) -> None:
    """Where the kernel shows nothing, a death is said not to be for memory."""
    (proc / "proc/vmstat").unlink()
    assert seen(8).told() is None


def test_a_whole_machine_out_of_memory(proc: Path) -> None:
    """Without a limit of its own a server that the kernel kills reads as SIGKILL."""
    memory = seen()
    (proc / "proc/vmstat").write_text("oom_kill 4\n")
    assert memory.told() == "killed for memory: this machine ran out of it"


def log_of(*lines: str) -> ServerLog:
    """Return a server's log."""
    log = ServerLog(0.0)
    for line in lines:
        log.add(line, 0.0)
    return log


CHILD = (
    "Subprocess scheduler_0 (pid=9) crashed with exit code -9. Triggering SIGQUIT for cleanup..."
)


@pytest.mark.parametrize(
    ("code", "lines", "memory", "cause"),
    [
        (-9, ["loading"], "killed for memory: x", "SIGKILL; killed for memory: x; loading"),
        (-9, ["loading"], "", "SIGKILL; loading"),
        (-3, [CHILD], "killed for memory: x", f"SIGQUIT; killed for memory: x; {CHILD}"),
        (-9, ["loading"], None, f"{KILLED}; loading"),
        (-15, ["loading"], None, "SIGTERM; loading"),
        (None, ["loading", ENDED], None, f"{SILENT}; loading"),
        (None, [CHILD], None, f"{KILLED}; {CHILD}"),
        (None, ["ValueError: x"], None, "ValueError: x"),
        (1, ["ValueError: x"], "", "ValueError: x"),
    ],
)
def test_what_a_death_is_told_as(
    code: int | None, lines: list[str], memory: str | None, cause: str
) -> None:
    """A server that is killed for memory reads as SIGKILL, or one that isn't as killed for it."""
    fault = fault_of_exit(code, "serving", log_of(*lines), memory)
    assert str(fault).partition("'serving': ")[2] == cause
    assert "memory" in KILLED
    assert "memory" in SILENT


async def test_the_servers_own_death_is_asked_for(
    shell: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The counters are read, and no death ever says what they tell."""
    async with running(shell("echo here; kill -KILL $$")) as server:
        monkeypatch.setattr(Memory, "told", lambda _: "killed for memory: x")
        error = await server.died("serving")
        await said(server, "here")
    assert str(error).endswith("in phase 'serving': SIGKILL; killed for memory: x; here")
