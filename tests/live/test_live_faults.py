"""What a real server under fault does to a run: the right verdict, in time, nothing left."""

from __future__ import annotations

import signal

import pytest

from ci.verdict import Outcome, Verdict
from tests.live.conftest import Command, CommandRun, gone_afterwards
from tests.reports import check_of

pytestmark = pytest.mark.live


def _in_smoke(command: Command, *settings: str) -> CommandRun:
    """Return a run whose server is up and in the middle of the smoke suite."""
    run = command("ci", *(part for text in settings for part in ("--set", text)))
    run.until("smoke: PASSED")
    return run


def test_killed_while_starting(command: Command) -> None:
    """A server that dies before its port opens is told with its exit code, not by a budget."""
    run = command("ci")
    run.until("readiness: port open")
    with gone_afterwards(run) as processes:
        processes[0].kill()
        assert run.wait() == 1
    assert "SIGKILL" in run.report().cause


def test_killed_in_smoke(command: Command) -> None:
    """A server that dies under the suite ends it at once, and keeps what was found before."""
    run = _in_smoke(command)
    with gone_afterwards(run) as processes:
        processes[0].kill()
        assert run.wait() == 1
    report = run.report()
    assert "SIGKILL" in report.cause
    names = [check.name for check in report.checks]
    assert names == ["preflight", "readiness", "versions", "smoke"]
    assert report.checks[-1].count(Outcome.PASSED) > 0


@pytest.mark.long
def test_hung_in_smoke(command: Command) -> None:
    """A server whose scheduler hangs fails the suite in seconds, and is stopped by force."""
    run = _in_smoke(command, "smoke.timeout=5", "server.stop_grace=3")
    with gone_afterwards(run) as processes:
        scheduler = next(p for p in processes if "scheduler" in " ".join(p.cmdline() or [p.name()]))
        scheduler.suspend()
        assert run.wait() == 1
    report = run.report()
    smoke = check_of(report, "smoke")
    assert smoke.verdict is Verdict.FAILED
    assert "answer" in smoke.cause


@pytest.mark.parametrize(
    ("moment", "number"),
    [
        ("readiness: started", signal.SIGTERM),
        ("readiness: port open", signal.SIGINT),
        pytest.param("smoke: PASSED", signal.SIGTERM, marks=pytest.mark.long),
        pytest.param("readiness: started", signal.SIGINT, marks=pytest.mark.long),
        pytest.param("readiness: port open", signal.SIGTERM, marks=pytest.mark.long),
        pytest.param("smoke: PASSED", signal.SIGINT, marks=pytest.mark.long),
    ],
)
def test_interrupted(command: Command, moment: str, number: signal.Signals) -> None:
    """Ctrl-C and SIGTERM at any moment leave a report that says so, and no process."""
    run = command("ci")
    run.until(moment)
    with gone_afterwards(run):
        run.signal(number)
        assert run.wait() == 128 + number
    report = run.report()
    assert report.interrupted == number.name
    assert report.verdict is Verdict.ERROR
