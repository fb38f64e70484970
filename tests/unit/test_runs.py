"""Whole runs on this host: whatever happens, a whole report and no process left."""

from __future__ import annotations

import os
import shutil
import signal
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from ci.commands.outcome import USAGE
from ci.report.write import ReportFolder
from ci.verdict import Verdict
from tests.fakes.launched import Plan
from tests.fakes.sglang import FakeSglang
from tests.rare import rare
from tests.unit.commands import HANG, Run, proving

pytestmark = pytest.mark.unit


LONG = 120.0


def gone(run: Run) -> None:
    """Hold that nothing lives that the run started; what was killed may take a moment."""
    deadline = time.monotonic() + HANG / 6
    while (left := run.alive()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not left, left


@pytest.mark.long
def test_two_whole_runs_at_once(tmp_path: Path) -> None:
    """A good server fails, a stage is left out unsaid, or one run proves another's server."""
    with proving(tmp_path / "one") as one, proving(tmp_path / "two") as two:
        assert (one.wait(), two.wait()) == (0, 0), one.output() + two.output()
    for run in (one, two):
        report, log = run.report(), run.folder / "report" / "server.log"
        names = [check.name for check in report.checks]
        assert names == ["preflight", "readiness", "versions", "smoke", "shutdown"]
        assert {check.verdict for check in report.checks} == {Verdict.PASSED}
        assert {stage.stage for stage in report.not_run} == {"image", "publish", "bench", "compare"}
        assert "server_args=" in log.read_text()
        gone(run)
    assert len({run.report().checks[1].facts["url"] for run in (one, two)}) == 2


@pytest.mark.long
def test_a_server_that_fails_is_not_put_under_load(tmp_path: Path) -> None:
    """A run with a bad server goes on for minutes, or says nothing of what it left out."""
    wrong = ("--set", "versions.expected.nonesuch=1.0", "--set", "bench.in_ci=true")
    with proving(tmp_path / "one", *wrong) as run:
        assert run.wait() == 1, run.output()
    report = run.report()
    assert [check.name for check in report.checks] == [
        *("preflight", "readiness", "versions", "smoke", "shutdown")
    ]
    assert "bench" in {stage.stage for stage in report.not_run}


MOMENTS = {
    "readiness: port open": Plan(open_after=LONG, child=True),
    "readiness: serving": Plan(ready_after=LONG),
    "readiness: first token": Plan(faults=("hang",)),
    "smoke: started": Plan(),
}


@pytest.mark.parametrize(
    ("moment", "number", "code"),
    rare(
        [
            ("readiness: serving", signal.SIGTERM, 143),
            ("readiness: port open", signal.SIGINT, 130),
            ("readiness: first token", signal.SIGINT, 130),
            ("smoke: started", signal.SIGTERM, 143),
            ("smoke: started", signal.SIGINT, 130),
        ],
    ),
)
def test_interrupted_in_each_stage(
    tmp_path: Path, moment: str, number: signal.Signals, code: int
) -> None:
    """Ctrl-C or SIGTERM in some stage leaves a process, or no report that says so."""
    with proving(tmp_path / "run", plan=MOMENTS[moment], case_seconds=LONG) as run:
        run.until(moment)
        run.send(number)
        assert run.wait() == code, run.output()
        report = run.report()
        assert report.interrupted == number.name
        assert report.verdict is Verdict.ERROR
        assert report.checks[-1].cause.endswith(f"interrupted by {number.name}")
        gone(run)


@pytest.mark.long
def test_interrupted_at_any_moment(tmp_path: Path) -> None:
    """Between two stages there is a moment at which a signal leaves a process, or a verdict."""
    with ExitStack() as stack:
        for at in range(5):
            run = stack.enter_context(proving(tmp_path / f"run-{at}", case_seconds=LONG))
            stack.callback(gone, run)
            while not (run.folder / "report").exists():
                time.sleep(0.005)
            time.sleep(0.15 * at)
            number = signal.SIGTERM if at % 2 else signal.SIGINT
            run.send(number)
            assert run.wait() in {128 + number, -number}, run.output()
            if (run.folder / "report" / "report.json").exists():
                assert run.report().interrupted == number.name


@pytest.mark.long
def test_a_second_signal_does_not_stop_the_cleaning_up(tmp_path: Path) -> None:
    """Ctrl-C twice leaves a server that doesn't listen to SIGTERM."""
    plan = Plan(ready_after=LONG, deaf=True, child=True)
    with proving(tmp_path / "run", plan=plan) as run:
        run.until("readiness: serving")
        for _ in range(3):
            run.send(signal.SIGINT)
            time.sleep(0.2)
        assert run.wait() == 130
        assert run.report().interrupted == "SIGINT"
        gone(run)


@pytest.mark.skipif(not shutil.which("setpriv"), reason="needs setpriv of util-linux")
@pytest.mark.long
def test_a_run_that_is_killed_takes_its_server_along(tmp_path: Path) -> None:
    """`kill -9`, or the end of a CI job, leaves a server that holds memory and port."""
    with proving(tmp_path / "run", plan=Plan(ready_after=LONG)) as run:
        run.until("readiness: serving")
        run.send(signal.SIGKILL)
        assert run.wait() == -signal.SIGKILL
        gone(run)


@pytest.mark.long
def test_a_death_in_smoke_is_the_servers_fault(tmp_path: Path) -> None:
    """A server that dies under its first real load passes, or nobody learns how it died."""
    plan = Plan(dies_on="/server_info", exit_code=-11, last_words="Fatal Python error: why")
    with proving(tmp_path / "run", plan=plan, case_seconds=LONG) as run:
        assert run.wait() == 1, run.output()
    report = run.report()
    assert report.verdict is Verdict.FAILED
    assert "server exited with -11 in phase" in report.cause
    assert "SIGSEGV; Fatal Python error: why" in report.cause
    gone(run)


@pytest.mark.long
def test_a_missing_model_is_refused_and_reported(tmp_path: Path) -> None:
    """A missing model makes a run without a report, or reads as a bad server."""
    with proving(tmp_path / "run", "--model", "/no/such/model") as run:
        assert run.wait() == USAGE
    assert "/no/such/model isn't there; name a folder that is" in run.report().cause
    assert "sglang-ci: model.path: /no/such/model isn't there" in run.output()


@pytest.mark.long
def test_a_refused_launch_is_reported(tmp_path: Path) -> None:
    """What `launch.sh` alone finds makes a run without a report."""
    with proving(tmp_path / "run", "--set", "image.sglang_version=0.5.22") as run:
        assert run.wait() == 1
    assert "launch.sh: wrong sglang version: 0.5.23" in run.report().cause


@pytest.mark.long
def test_a_stale_server_on_the_port_is_not_ours(tmp_path: Path) -> None:
    """A server that somebody else left on the port is proven in place of ours."""
    with FakeSglang() as stale:
        port = stale.url.rpartition(":")[2]
        with proving(tmp_path / "run", "--set", f"server.port={port}") as run:
            assert run.wait() == 4
        assert stale.asked == []
    assert f"127.0.0.1:{port} is taken by pid {os.getpid()} (" in run.report().cause


def test_a_report_folder_in_use_stops_the_run_at_once(tmp_path: Path) -> None:
    """Two runs write one report, or the second one dies with a traceback."""
    folder = tmp_path / "run" / "report"
    with ReportFolder.open(folder), proving(tmp_path / "run") as run:
        assert run.wait() == 4
    (line,) = run.output().splitlines()
    assert f"report folder {folder} is in use by another run (pid {os.getpid()})" in line


@pytest.mark.long
def test_a_report_folder_that_can_not_be_written_stops_the_run_at_once(tmp_path: Path) -> None:
    """A run of minutes ends without a report, or with a traceback."""
    with proving(tmp_path / "run", "--report-dir", "/proc/report") as run:
        assert run.wait() == 4
    (line,) = run.output().splitlines()
    assert "/proc/report" in line
    assert "pass another --report-dir" in line
