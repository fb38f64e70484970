"""Health and drain on the real SGLang: a good server passes, and a lying one is found."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import pytest

from ci.boot.launch import Launch, launch_script
from ci.boot.port import reserved
from ci.boot.process import ServerProcess
from ci.platform import TINY_MODEL
from ci.report.model import Check
from ci.verdict import Outcome
from tests.live.conftest import Command
from tests.readme import readme

pytestmark = pytest.mark.live

SHORT = ("timeout=3", "patience=6", "observe=6", "calm=1", "recover=30")
WHOLE = "every accepted stream has its final event"
REFUSED = "new requests are refused"


def outcomes(check: Check) -> dict[str, Outcome]:
    """Return each case's outcome."""
    return {case.name: case.outcome for case in check.cases}


@pytest.mark.parametrize(
    ("probe", "code", "shown"),
    [("request", 0, Outcome.PASSED), ("models", 1, Outcome.FAILED)],
)
def test_stopped_scheduler(
    command: Command, live_server: ServerProcess, probe: str, code: int, shown: Outcome
) -> None:
    """A probe that says nothing of a hung server passes, or one that tells it fails."""
    settings = [part for text in (*SHORT, f"probe={probe}") for part in ("--set", f"health.{text}")]
    fault = ("--fault", "scheduler stopped")
    run = command("health", live_server.url, "--pid", str(live_server.pid), *fault, *settings)
    assert run.wait() == code, run.output()
    found = outcomes(run.report().checks[0])
    assert found["scheduler stopped: shown in time"] is shown
    assert found["scheduler stopped: recovers"] is Outcome.PASSED


def test_drain(command: Command) -> None:
    """Launched by launch.sh, a server loses streams on SIGTERM or takes new work after it."""
    argv = readme("sglang-ci drain")[1:]
    run = command(*argv, "--scenario", "streams", "--set", "drain.grace=30")
    assert run.wait() == 0, run.output()
    found = outcomes(run.report().checks[0])
    assert set(found.values()) == {Outcome.PASSED}
    assert {f"streams: {WHOLE}", f"streams: {REFUSED}"} <= set(found)


@pytest.mark.long
def test_sglangs_own_drain_is_found_out(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check passes a server that accepts work after SIGTERM and drains without a limit."""
    monkeypatch.setenv("DRAIN_SECONDS", "")
    run = command("drain", "--scenario", "long streams", "--set", "drain.grace=15")
    assert run.wait() == 1, run.output()
    found = outcomes(run.report().checks[0])
    assert found[f"long streams: {REFUSED}"] is Outcome.FAILED
    assert found["long streams: exits in time"] is Outcome.FAILED


@pytest.mark.long
@pytest.mark.parametrize("scenario", ["long streams", "hung scheduler"])
def test_drain_in_the_ten_seconds_of_a_dagger_service(
    command: Command, monkeypatch: pytest.MonkeyPatch, scenario: str
) -> None:
    """A stream that is longer than the grace, or that hangs, is cut without a final event."""
    monkeypatch.setenv("DRAIN_SECONDS", "4")
    run = command("drain", "--scenario", scenario, "--set", "drain.grace=10")
    assert run.wait() == 0, run.output()


@pytest.mark.long
@pytest.mark.parametrize("scenario", ["streams", "long streams", "hung scheduler"])
def test_drain_of_several_workers(
    command: Command, monkeypatch: pytest.MonkeyPatch, scenario: str
) -> None:
    """The first HTTP worker that has drained ends the scheduler under the streams of the other."""
    monkeypatch.setenv("DRAIN_SECONDS", "4")
    monkeypatch.setenv("SGLANG_UVICORN_WORKER_HEALTHCHECK_TIMEOUT", "600")  # or it kills slow ones
    workers = ("--set", 'server.flags=["--tokenizer-worker-num=2"]')
    run = command("drain", "--scenario", scenario, "--set", "drain.grace=20", *workers)
    assert run.wait() == 0, run.output()
    assert set(outcomes(run.report().checks[0]).values()) == {Outcome.PASSED}


@pytest.mark.long
def test_every_fault(command: Command) -> None:
    """Some fault of a server of one's own is not brought about, not shown, or leaves processes."""
    run = command(*readme("sglang-ci health")[1:])
    assert run.wait() == 0, run.output()
    check = run.report().checks[0]
    assert not check.count(Outcome.SKIPPED)
    assert check.facts["detokenizer stopped under traffic: /health"].startswith("no alarm")
    assert (run.folder / "report" / "probes.yaml").read_text()


@pytest.mark.long
@pytest.mark.parametrize("flags", [(), ("--tokenizer-worker-num=2",)])
def test_told_to_end_while_it_warms_up(tmp_path: Path, flags: tuple[str, ...]) -> None:
    """A server waits for a warm-up that its own drain refuses, or kills itself because of it."""
    with reserved("127.0.0.1", 0) as port, (tmp_path / "log").open("w+") as log:
        launch = Launch(TINY_MODEL, "127.0.0.1", port, flags=flags)
        argv = [str(launch_script()), *flags]
        process = subprocess.Popen(argv, env=launch.environ(), stdout=log, stderr=log)
        try:
            end = time.monotonic() + 120
            while "Application startup complete" not in (tmp_path / "log").read_text():
                assert process.poll() is None
                assert time.monotonic() < end
                time.sleep(0.05)
            process.send_signal(signal.SIGTERM)
            before_sglang_listens = -signal.SIGTERM
            assert process.wait(30) in {0, before_sglang_listens}
            assert "fired up and ready to roll" not in (tmp_path / "log").read_text()
        finally:
            process.kill()
            process.wait()
