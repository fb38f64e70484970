"""The server's process: what it says is kept, how it ends is told, and nothing is left."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from ci.boot import launch as launching
from ci.boot import process as processes
from ci.boot.death import fault_of_exit
from ci.boot.launch import BLOCKED, REFUSED, Launch, launch_script
from ci.boot.log import LONGEST_LINE
from ci.boot.process import running
from ci.errors import (
    CheckBroken,
    LaunchBlocked,
    LaunchRefused,
    ServerExited,
)
from ci.verdict import Verdict
from tests.unit.shells import HANG, STUBBORN, Fake, ended, said

pytestmark = [pytest.mark.unit, pytest.mark.anyio]


@pytest.mark.parametrize("code", range(64, 74))
async def test_refusals_of_launch_sh(shell: Fake, code: int) -> None:
    """A machine without a GPU makes a bad server, or a missing model an infrastructure fault."""
    error, _ = await ended(shell(f"echo 'launch.sh: what: where; remedy' >&2; exit {code}"))
    assert isinstance(error, LaunchRefused | LaunchBlocked)
    assert error.exit_code == code
    assert str(error) == "launch.sh: what: where; remedy"
    refuses_model = code in {65, 66, 67, 72}
    assert error.verdict is (Verdict.FAILED if refuses_model else Verdict.ERROR)


def test_every_refusal_of_launch_sh_is_known() -> None:
    """A new refusal of launch.sh reads as a server that died."""
    listed = {
        int(line.split()[1])
        for line in launch_script().read_text().splitlines()
        if line.startswith("#   ") and line.split()[1].isdigit()
    }
    assert listed == REFUSED | BLOCKED
    assert not REFUSED & BLOCKED


@pytest.mark.parametrize(
    ("script", "code", "how"),
    [
        ("echo 'ValueError: why'; exit 3", 3, "exited with 3 in phase 'starting': ValueError: why"),
        ("exit 0", 0, "exited with 0 in phase 'starting': no output"),
        ("echo last; kill -KILL $$", -9, "exited with -9 in phase 'starting': SIGKILL; last"),
        ("kill -SEGV $$", -11, "exited with -11 in phase 'starting': SIGSEGV; no output"),
        ("kill -40 $$", -40, "exited with -40 in phase 'starting': signal 40; no output"),
    ],
)
async def test_how_a_server_died(shell: Fake, script: str, code: int, how: str) -> None:
    """The exit code or the cause of a death is missing from the report."""
    error, server = await ended(shell(script))
    assert isinstance(error, ServerExited)
    assert error.exit_code == server.exit_code == code
    assert str(error) == f"server {how}"


@pytest.mark.parametrize(
    ("written", "lines"),
    [
        (rb"one\ntwo\n", ["one", "two"]),
        (rb"no end of line", ["no end of line"]),
        (rb"windows\r\n", ["windows"]),
        (rb"bad \xff\xfe byte\n", ["bad \N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER} byte"]),
        (rb"\n\nblank\n", ["", "", "blank"]),
        (rb"caf\303\251\n", ["café"]),
    ],
)
async def test_output_of_every_kind_is_kept(
    shell: Fake, tmp_path: Path, written: bytes, lines: list[str]
) -> None:
    """The line that says why is lost because of how it was written."""
    target = tmp_path / "server.log"
    _, server = await ended(shell(f"printf '{written.decode()}'"), target)
    assert server.log.tail().splitlines() == lines
    assert target.read_text(errors="replace").splitlines() == lines


async def test_pieces_of_a_line_make_one_line(shell: Fake) -> None:
    """A line that is written in pieces, or in the middle of a character, is torn apart."""
    pieces = ("par", "tial ", r"caf\303", r"\251\n")
    _, server = await ended(shell("; sleep 0.05; ".join(f"printf '{piece}'" for piece in pieces)))
    assert server.log.tail() == "partial café"


async def test_an_endless_line_costs_no_time_and_no_memory(shell: Fake) -> None:
    """A progress bar of megabytes without a line's end stalls the run."""
    begin = time.monotonic()
    _, server = await ended(shell("head -c 50000000 /dev/zero | tr '\\0' x; echo; echo end"))
    assert time.monotonic() - begin < HANG / 2
    first, last = server.log.tail().splitlines()
    assert (len(first), last) == (LONGEST_LINE, "end")


async def test_a_full_disk_does_not_block_the_server(shell: Fake) -> None:
    """A server hangs, or the run breaks, because its log can't be written."""
    _, server = await ended(shell("seq 20000; exit 4"), Path("/dev/full"))
    assert server.log.last_line() == "20000"
    assert server.exit_code == 4


async def test_the_environment_is_passed_on(shell: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    """A setting doesn't reach the server, or one of ours slows its start by a minute."""
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setenv("FROM_OUTSIDE", "kept")
    launch = shell("env; exit 1")
    _, server = await ended(launch)
    shown = set(server.log.tail(500).splitlines())
    wanted = {f"MODEL_PATH={launch.model}", "HOST=127.0.0.1", "PORT=1", "FROM_OUTSIDE=kept"}
    assert wanted | {f"FAKE={launch.model}", "PYTHONUNBUFFERED=1"} <= shown
    assert not any(line.startswith("PYTHONDONTWRITEBYTECODE") for line in shown)


async def test_flags_are_passed_on_as_they_are(shell: Fake, tmp_path: Path) -> None:
    """A flag with a space or a quote in it reaches the server as another one."""
    launch = shell("printf '<%s>' \"$@\"")
    odd = ("--a", "b c", "d'e\"f", "$HOME", "*", "")
    _, server = await ended(
        Launch(tmp_path, "127.0.0.1", 1, flags=odd, environment=launch.environment)
    )
    assert server.log.tail() == "".join(f"<{flag}>" for flag in odd)


async def test_it_has_started_when_sglang_runs_and_not_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a folder that is called sglang-ci, launch.sh itself passes for the server."""
    script = tmp_path / "sglang-ci" / "launch.sh"
    script.parent.mkdir()
    (tmp_path / "sglang").mkdir()
    (tmp_path / "sglang" / "__init__.py").touch()
    (tmp_path / "sglang" / "launch_server.py").write_text(STUBBORN)
    script.write_text('echo checking; read -r < "$GATE"; exec "$PYTHON" -m sglang.launch_server')
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    monkeypatch.setattr(processes, "launch_script", lambda: script)
    environment = {"GATE": str(gate), "PYTHONPATH": str(tmp_path)}
    launch = Launch(tmp_path, "127.0.0.1", 1, python=sys.executable, environment=environment)
    async with running(launch) as server:
        await said(server, "checking")
        assert not server.has_started()
        gate.write_text("go\n")
        await said(server, "here")
        assert server.has_started()
        assert not server.owns_port()
        os.killpg(server.pid, signal.SIGKILL)


def test_a_missing_launch_sh_is_our_fault(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A broken installation reads as a bad server."""
    monkeypatch.setattr(launching, "__file__", str(tmp_path / "a" / "b" / "launch.py"))
    with pytest.raises(CheckBroken, match=r"launch\.sh is missing from .*; install"):
        launch_script()


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:5"),
        ("0.0.0.0", "http://127.0.0.1:5"),
        ("::", "http://[::1]:5"),
        ("::1", "http://[::1]:5"),
        ("node", "http://node:5"),
    ],
)
def test_where_a_server_is_asked(host: str, url: str) -> None:
    """A server that listens everywhere, or on IPv6, can't be asked."""
    assert Launch(Path("m"), host, 5).url == url


async def test_an_unknown_exit_code_is_said_to_be_unknown(shell: Fake) -> None:
    """A server seen through its log only is given an exit code that nobody saw."""
    _, server = await ended(shell("echo 'OSError: x'"))
    error = fault_of_exit(None, "serving", server.log)
    assert str(error) == "server exited in phase 'serving': OSError: x"
