"""The preflight as a command, and at the start of a whole run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ci.preflight.asked import Finding
from ci.preflight.stage import refusals
from ci.verdict import Outcome
from tests.fakes.faulty import closed_port
from tests.unit.commands import Command
from tests.unit.preflights import WRONG

pytestmark = [pytest.mark.unit, pytest.mark.usefixtures("empty_folder")]


def test_the_command_tells_all_and_ends_as_a_wrong_call(
    command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    """A CI can't tell a wrong call from a bad server, or reads of one fault at a time."""
    Path("sglang-ci.toml").write_text(WRONG)
    assert command("preflight", "--publish-to", "127.0.0.1:1/team/image") == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 9
    assert all(line.startswith("sglang-ci: ") for line in lines)
    report = json.loads(Path("report/report.json").read_text())
    assert [check["name"] for check in report["checks"]] == ["preflight"]
    assert report["verdict"] == "ERROR"


def test_the_command_tells_what_is_out_of_reach_as_an_error(command: Command) -> None:
    """A registry that is down reads as a wrong call."""
    to = f"127.0.0.1:{closed_port()}/team/image:v1"
    assert command("preflight", "--publish-to", to, "--set", "registry.attempts=1") == 4


def test_the_command_passes_where_all_is_well(command: Command, tmp_path: Path) -> None:
    """A right call is refused."""
    seen = tmp_path / "seen.json"
    seen.write_text(json.dumps([{"name": "base image", "outcome": "PASSED", "message": "x@y"}]))
    assert command("preflight", "--seen", str(seen)) == 0
    assert '"x@y"' in Path("report/report.json").read_text()
    seen.write_text("[1]")
    assert command("preflight", "--seen", str(seen)) == 2


def test_a_whole_run_is_refused_before_it_begins(
    command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    """`ci` starts a server, and then finds that a folder of cases isn't there."""
    more = ("--set", "bench.prompts=absent.jsonl", "--set", "server.device=cpu")
    asked_for = ("ci", "--smoke", "nowhere", *more)
    assert command(*asked_for) == 2
    told = capsys.readouterr().err
    assert "absent.jsonl isn't there" in told
    assert "nowhere isn't there" in told
    assert not Path("report/server.log").exists()


def test_findings_are_refused_together() -> None:
    """What is out of reach is left out of the answer to a wrong call."""
    down = Finding("registry", Outcome.ERROR, "down")
    bad = Finding("tag", Outcome.ERROR, "bad", usage=True)
    assert refusals([down, bad, Finding("x")]) == ["registry: down", "tag: bad"]
    assert refusals([down]) == []
