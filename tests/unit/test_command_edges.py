"""The command at the edges of its process: streams, working folder, and signals at the start."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from ci.commands.outcome import USAGE, interruptible
from tests.rare import rare

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]
COMMAND = (sys.executable, "-m", "ci")
HANG = 60.0
READER_GONE = 141
"""128 and SIGPIPE, as other tools end whose reader went away."""
IMPORTED = re.compile(r"^import time:.*\| *(?P<name>\S+)$")
"""What Python says on stderr with `-X importtime`, after each module."""


def environment() -> dict[str, str]:
    """Return an environment without settings of whoever runs the tests."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith("SGLANG_CI_")}
    return kept | {"PYTHONPATH": str(ROOT)}


def shell(script: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a shell script whose arguments are the command and its own."""
    return subprocess.run(
        ["bash", "-c", script, "bash", *COMMAND, *arguments],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=HANG,
        check=False,
    )


@pytest.mark.parametrize("closed", rare([">&-", "2>&-", "<&-", "<&- >&- 2>&-"]))
@pytest.mark.long
def test_closed_streams_change_no_verdict(tmp_path: Path, closed: str) -> None:
    """A service manager or `>&-` closes a stream, and the run ends by a traceback."""
    asked = ("wait", "http://127.0.0.1:1", "--set", "readiness.port_open=0.2")
    ran = shell(f'"$@" {closed}', tmp_path, *asked)
    assert ran.returncode == 1, ran
    assert "Traceback" not in ran.stdout + ran.stderr
    assert (tmp_path / "report/report.json").read_text().startswith("{")


def test_a_full_disk_behind_stdout_is_told(tmp_path: Path) -> None:
    """`release current > file` leaves an empty file and says that all went well."""
    ran = shell('"$@" > /dev/full', tmp_path, "config", "show")
    assert ran.returncode == 4
    line = "sglang-ci: standard output can't be written: No space left on device\n"
    assert ran.stderr == line


@pytest.mark.parametrize("arguments", rare([["config", "schema"], ["config", "show"], ["--help"]]))
def test_a_reader_that_goes_away_is_no_verdict(tmp_path: Path, arguments: list[str]) -> None:
    """`sglang-ci config show | head -1` ends with 1, which reads as a bad server."""
    ran = shell('"$@" | true; exit ${PIPESTATUS[0]}', tmp_path, *arguments)
    assert ran.returncode in {0, READER_GONE}
    assert not ran.stderr


def test_a_deleted_working_folder_is_told(tmp_path: Path) -> None:
    """A run in a folder that is gone ends by a traceback."""
    ran = shell('mkdir gone && cd gone && rmdir "$PWD" && "$@"', tmp_path, "config", "show")
    assert ran.returncode == USAGE
    said = "sglang-ci: the working folder can't be used (No such file or directory): change to one"
    assert ran.stderr.startswith(said)
    assert len(ran.stderr.splitlines()) == 1


@pytest.mark.parametrize("later", rare([0.0, 0.01, 0.03, 0.1, 0.2, 0.4, 0.7, 1.0], 3))
def test_an_interrupt_at_the_start_is_quiet(tmp_path: Path, later: float) -> None:
    """Ctrl-C in the first second shows a traceback, or ends as a bad server would."""
    asked = ("wait", "http://127.0.0.1:1")
    with subprocess.Popen(
        [sys.executable, "-X", "importtime", "-m", "ci", *asked],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr
        try:
            for line in process.stderr:
                found = IMPORTED.match(line)
                if found and found["name"] == "ci.cli":
                    break
            next(process.stderr)  # imported by its `main`, which has seen to the signal by then
            time.sleep(later)
            process.send_signal(signal.SIGINT)
            said = [line for line in process.stderr if not IMPORTED.match(line)]
            code = process.wait(HANG)
        finally:
            process.kill()
    assert code == 128 + signal.SIGINT, said
    assert not said


def test_an_interrupt_within_generated_code_ends_with_its_exit_code(tmp_path: Path) -> None:
    """Python ends `-m` by SIGINT itself where the interrupt came while a string was executed."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os, signal, sys\n"
        "class Interrupting:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'anyio._backends._asyncio':\n"
        "            exec(f'os.kill({os.getpid()}, signal.SIGINT); [*range(1000)]')\n"
        "sys.meta_path.insert(0, Interrupting())\n"
    )
    asked = [sys.executable, "-m", "ci", "wait", "http://127.0.0.1:1"]
    within = environment() | {"PYTHONPATH": str(tmp_path)}
    ran = subprocess.run(
        asked, cwd=tmp_path, env=within, capture_output=True, text=True, timeout=HANG, check=False
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (128 + signal.SIGINT, "", "")


def test_work_in_another_thread_may_be_interrupted() -> None:
    """Publishing into a report, which goes on in a thread, ends by "only works in main thread"."""
    before = signal.getsignal(signal.SIGINT)
    try:
        anyio.run(anyio.to_thread.run_sync, interruptible)
        assert signal.getsignal(signal.SIGINT) is before
        interruptible()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
