"""Stages and the graph on this host: whatever happens, a whole report and no process left."""

from __future__ import annotations

import os
import shutil
import signal
import time
from contextlib import ExitStack
from pathlib import Path

import anyio
import pytest

from ci import stages as stages_module
from ci.concurrency import one_error, unless
from ci.errors import BadAnswer, LaunchBlocked, ServerExited, SglangCiError
from ci.report.model import Case, Check, NotRun, Report, now
from ci.report.write import ReportFolder
from ci.stages import Stages
from ci.verdict import Outcome, Verdict
from tests.fakes.launched import Plan
from tests.fakes.sglang import FakeSglang
from tests.live.quiet import Quiet
from tests.unit.commands import HANG, Run, proving

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

LONG = 120.0
CASE = Case(name="seen before", outcome=Outcome.PASSED)


def good() -> Check:
    """Return a check that passed."""
    return Check(name="good", started=now(), seconds=0, cases=(CASE,))


async def one_stage(stages: Stages, error: BaseException) -> Report:
    """Report a run of one stage, which finds one case and then raises `error`."""

    async def work() -> Check:
        stages.case(CASE)
        raise error

    async def run() -> None:
        await stages.run("odd", work)

    with anyio.fail_after(HANG):
        return await stages.report(run)


@pytest.mark.parametrize(
    ("error", "verdict", "words"),
    [
        (BadAnswer("http://h", "HTTP 500"), Verdict.FAILED, "http://h: HTTP 500"),
        (LaunchBlocked("no GPU", 70), Verdict.ERROR, "no GPU"),
        (KeyError("x"), Verdict.ERROR, "the check itself broke: KeyError: 'x'"),
        (RecursionError(), Verdict.ERROR, "the check itself broke: RecursionError"),
        (ExceptionGroup("two", [KeyError()]), Verdict.ERROR, "the check itself broke: Exception"),
        (AssertionError("bug"), Verdict.ERROR, "the check itself broke: AssertionError: bug"),
    ],
)
async def test_a_stage_that_raises_becomes_a_check(
    error: Exception, verdict: Verdict, words: str
) -> None:
    """A bug of ours reads as a bad server, or ends the run without a report."""
    report = await one_stage(Stages(Quiet()), error)
    (check,) = report.checks
    assert (check.name, check.verdict, report.verdict) == ("odd", verdict, verdict)
    assert words in check.cause
    assert check.cases[1:] == (CASE,)
    broke = not isinstance(error, SglangCiError)
    assert ("Traceback" in check.cases[0].details) is broke


async def test_a_death_ends_its_stage() -> None:
    """A server dies while it is asked, and the stage waits for its answer."""
    stages = Stages(Quiet())

    async def forever() -> Check:
        await anyio.sleep(HANG)
        return good()

    with anyio.fail_after(HANG / 2):
        check = await stages.run("odd", forever, death=died)
    assert check.cause == DEATH


async def died() -> SglangCiError:
    """Return the death of a server, a moment later."""
    await anyio.sleep(0.1)
    return ServerExited(-9, "odd", "SIGKILL")


DEATH = "runs to its end: server exited with -9 in phase 'odd': SIGKILL"


async def test_a_death_explains_the_failure_that_was_seen_before_it() -> None:
    """A killed server reads as one that refuses connections, without its exit code."""
    refused = Case(name="asked", outcome=Outcome.FAILED, message="connection refused")
    failed = good().model_copy(update={"cases": (CASE, refused)})
    check = await Stages(Quiet()).run("odd", lambda: _return(failed), death=died)
    assert check.cause.startswith(DEATH)
    assert check.cases[1:] == failed.cases
    passed = await Stages(Quiet()).run("odd", lambda: _return(good()), death=died)
    assert passed == good().model_copy(update={"started": passed.started})


async def test_a_failure_of_a_living_server_stays_what_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A check that failed waits for a death that never comes."""
    monkeypatch.setattr(stages_module, "LAST_LOOK", 0.05)

    async def never() -> SglangCiError:
        await anyio.sleep(HANG)
        return LaunchBlocked("x", 68)

    failed = good().model_copy(update={"cases": ()})
    with anyio.fail_after(HANG / 2):
        assert await Stages(Quiet()).run("odd", lambda: _return(failed), death=never) == failed


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_cancels_the_stage_and_closes_what_is_open(number: signal.Signals) -> None:
    """Ctrl-C leaves a server running, loses what was found, or reads as a verdict."""
    stages, closed = Stages(Quiet()), list[str]()

    async def interrupted() -> Check:
        stages.case(CASE)
        os.kill(os.getpid(), number)
        await anyio.sleep(HANG)
        return good()

    async def work() -> None:
        try:
            await stages.run("first", lambda: _return(good()))
            await stages.run("second", interrupted)
            await stages.run("third", lambda: _return(good()))
        finally:
            closed.append("server")

    with anyio.fail_after(HANG / 2):
        report = await stages.report(work, not_run=(NotRun(stage="image", needs="x"),))
    assert closed == ["server"]
    assert report.interrupted == number.name
    assert [check.name for check in report.checks] == ["good", "second"]
    assert report.checks[1].cases[1:] == (CASE,)
    assert report.checks[1].cause == f"runs to its end: interrupted by {number.name}"
    assert (report.verdict, report.not_run[0].stage) == (Verdict.ERROR, "image")


async def _return(check: Check) -> Check:
    return check


async def test_signals_are_watched_before_the_work_begins() -> None:
    """A signal in the first instant ends the process with its server running."""
    stages = Stages(Quiet())

    async def at_once() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        await anyio.sleep(HANG)

    with anyio.fail_after(HANG / 2):
        assert (await stages.report(at_once)).interrupted == "SIGTERM"


async def test_an_error_of_a_group_is_raised_alone() -> None:
    """A server's fault arrives as "unhandled errors in a TaskGroup"."""
    ours = LaunchBlocked("x", 68)
    with pytest.raises(LaunchBlocked), one_error():
        raise BaseExceptionGroup("g", [KeyError(), BaseExceptionGroup("h", [ours])])
    with pytest.raises(KeyError), one_error():
        raise ExceptionGroup("g", [KeyError()])
    with pytest.raises(ExceptionGroup), one_error():
        raise ExceptionGroup("g", [KeyError(), ValueError()])


async def test_unless_prefers_neither_too_soon() -> None:
    """Work that is done is thrown away, or a fault is waited for."""

    async def never() -> Exception:
        await anyio.sleep(HANG)
        return KeyError()

    async def done() -> str:
        return "done"

    async def fault() -> Exception:
        return KeyError("fault")

    async def forever() -> None:
        await anyio.sleep(HANG)

    with anyio.fail_after(HANG / 2):
        assert await unless(done, never) == "done"
        with pytest.raises(KeyError, match="fault"):
            await unless(forever, fault)


def gone(run: Run) -> None:
    """Hold that nothing lives that the run started; what was killed may take a moment."""
    deadline = time.monotonic() + HANG / 6
    while (left := run.alive()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not left, left


def test_two_whole_runs_at_once(tmp_path: Path) -> None:
    """A good server doesn't pass, a stage is left out unsaid, or one run proves another's server."""
    with proving(tmp_path / "one") as one, proving(tmp_path / "two") as two:
        assert (one.wait(), two.wait()) == (0, 0), one.output() + two.output()
    for run in (one, two):
        report, log = run.report(), run.folder / "report" / "server.log"
        names = [check.name for check in report.checks]
        assert names == ["readiness", "versions", "smoke", "shutdown"]
        assert {check.verdict for check in report.checks} == {Verdict.PASSED}
        assert {stage.stage for stage in report.not_run} == {"image", "publish"}
        assert "server_args=" in log.read_text()
        gone(run)
    assert len({run.report().checks[0].facts["url"] for run in (one, two)}) == 2


MOMENTS = {
    "readiness: started": Plan(),
    "readiness: port open": Plan(open_after=LONG, child=True),
    "readiness: serving": Plan(ready_after=LONG),
    "readiness: first token": Plan(faults=("hang",)),
    "smoke: started": Plan(),
}


@pytest.mark.parametrize(
    ("moment", "number", "code"),
    [
        ("readiness: started", signal.SIGTERM, 143),
        ("readiness: port open", signal.SIGINT, 130),
        ("readiness: serving", signal.SIGTERM, 143),
        ("readiness: first token", signal.SIGINT, 130),
        ("smoke: started", signal.SIGTERM, 143),
        ("smoke: started", signal.SIGINT, 130),
    ],
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


def test_interrupted_at_any_moment(tmp_path: Path) -> None:
    """Between two stages there is a moment at which a signal leaves a process, or a verdict."""
    with ExitStack() as stack:
        for at in range(8):
            run = stack.enter_context(proving(tmp_path / f"run-{at}", case_seconds=LONG))
            stack.callback(gone, run)
            time.sleep(0.12 * at)
            number = signal.SIGTERM if at % 2 else signal.SIGINT
            run.send(number)
            assert run.wait() in {128 + number, -number}, run.output()
            if (run.folder / "report" / "report.json").exists():
                assert run.report().interrupted == number.name


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
def test_a_run_that_is_killed_takes_its_server_along(tmp_path: Path) -> None:
    """`kill -9`, or the end of a CI job, leaves a server that holds memory and port."""
    with proving(tmp_path / "run", plan=Plan(ready_after=LONG)) as run:
        run.until("readiness: serving")
        run.send(signal.SIGKILL)
        assert run.wait() == -signal.SIGKILL
        gone(run)


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


def test_a_refused_launch_is_reported(tmp_path: Path) -> None:
    """A missing model makes a run without a report."""
    with proving(tmp_path / "run", "--model", "/no/such/model") as run:
        assert run.wait() == 1
    assert "launch.sh: no such model folder: /no/such/model" in run.report().cause


def test_a_stale_server_on_the_port_is_not_ours(tmp_path: Path) -> None:
    """A server that somebody else left on the port is proven in place of ours."""
    with FakeSglang() as stale:
        port = stale.url.rpartition(":")[2]
        with proving(tmp_path / "run", "--set", f"server.port={port}") as run:
            assert run.wait() == 4
        assert stale.asked == []
    assert f"port taken: 127.0.0.1:{port}" in run.report().cause


def test_a_report_folder_in_use_stops_the_run_at_once(tmp_path: Path) -> None:
    """Two runs write one report, or the second one dies with a traceback."""
    folder = tmp_path / "run" / "report"
    with ReportFolder.open(folder), proving(tmp_path / "run") as run:
        assert run.wait() == 4
    (line,) = run.output().splitlines()
    assert f"report folder {folder} is in use by another run (pid {os.getpid()})" in line


def test_a_report_folder_that_can_not_be_written_stops_the_run_at_once(tmp_path: Path) -> None:
    """A run of minutes ends without a report, or with a traceback."""
    with proving(tmp_path / "run", "--report-dir", "/proc/report") as run:
        assert run.wait() == 4
    (line,) = run.output().splitlines()
    assert "/proc/report" in line
    assert "pass another --report-dir" in line
