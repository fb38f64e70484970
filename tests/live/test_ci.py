"""`sglang-ci ci` on the real thing, and its verdict when the server can't start."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from ci.boot.process import ServerProcess
from ci.platform import TINY_MODEL
from ci.verdict import Verdict
from tests.live.conftest import Command
from tests.reports import check_of

pytestmark = pytest.mark.live


@pytest.mark.long
def test_quiet_log_level_loses_only_the_inner_phases(command: Command) -> None:
    """A user who silences the server still gets the outer phases and a verdict."""
    run = command("ci", "--set", "server.log_level=warning", "--set", "smoke.select=greedy")
    assert run.wait() == 0, run.output()
    names = [phase.name for phase in check_of(run.report(), "readiness").phases]
    assert names[:4] == ["process started", "port open", "serving", "first token"]
    assert "weights" not in names


@pytest.mark.long
@pytest.mark.parametrize(("method", "told"), [("auto", "forked"), ("spawn", None)])
def test_processes_begin_either_way(command: Command, method: str, told: str | None) -> None:
    """A server whose processes are copies is another one, or the report says nothing of it."""
    setting = ("--set", f"server.start_method={method}")
    run = command("ci", *setting)
    assert run.wait() == 0, run.output()
    assert check_of(run.report(), "readiness").facts.get("processes") == told
    assert command("drain", "--scenario", "streams", *setting).wait() == 0


def test_missing_model_fails_at_once(command: Command, tmp_path: Path) -> None:
    """A wrong model path is told before anything is loaded, with the path."""
    run = command("ci", "--model", str(tmp_path / "nowhere"))
    assert run.wait() == 2
    assert "nowhere" in run.output()


def test_bad_flag_fails_with_the_servers_own_words(command: Command) -> None:
    """A flag that SGLang doesn't know names the flag."""
    run = command("ci", "--", "--no-such-flag")
    assert run.wait() == 1
    assert "--no-such-flag" in run.report().cause


def test_broken_model_fails_with_the_reason(command: Command, tmp_path: Path) -> None:
    """A model that can't be loaded shows the error of the process that tried."""
    model = tmp_path / "model"
    shutil.copytree(TINY_MODEL, model)
    (model / "config.json").write_text(json.dumps({"model_type": "nonesuch"}))
    run = command("ci", "--model", str(model))
    assert run.wait() == 1
    assert "nonesuch" in run.report().cause


def test_port_taken_is_not_the_servers_fault(command: Command, live_server: ServerProcess) -> None:
    """A stale server on the port is never mistaken for the one under test."""
    run = command("ci", "--set", f"server.port={live_server.launch.port}")
    assert run.wait() == 4
    report = run.report()
    assert report.verdict is Verdict.ERROR
    assert str(live_server.pid) in report.cause
    assert [check.name for check in report.checks] == ["preflight"]


def test_other_version_is_refused(command: Command) -> None:
    """An environment with another SGLang than the expected one is told before it serves."""
    run = command("ci", "--set", "image.sglang_version=0.5.22")
    assert run.wait() == 1
    assert "0.5.22" in run.report().cause
    assert "0.5.23" in run.report().cause


def test_hub_out_of_reach_ends_with_one_line(command: Command) -> None:
    """A hub that can't be reached costs seconds and one clear line."""
    run = command("ci", "--model", "nobody/no-such-model@0123456")
    assert run.wait() == 4
    assert "nobody/no-such-model@0123456" in run.report().cause


def test_wrong_versions_fail_with_both_sides(command: Command, live_server: ServerProcess) -> None:
    """A server under a wrong label fails, and the line names what runs and what should."""
    run = command("versions", live_server.url, "--expect", "sglang=0.5.24")
    assert run.wait() == 1
    assert "expected 0.5.24, running 0.5.23" in run.report().cause
    assert command("versions", live_server.url, "--expect", "sglang=0.5.23").wait() == 0
