"""The command's stages against servers of known kind, and what their options mean."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ci.commands import before
from ci.graph import host
from ci.image.installed import installed
from ci.report.model import Case, Check, Report, now
from ci.report.write import load
from ci.settings import Settings
from ci.stages import StageResult
from ci.verdict import Outcome
from ci.versions import stage
from ci.versions.stage import Expected
from tests.fakes.faulty import BEHAVIOURS, closed_port, listening
from tests.fakes.sglang import FakeSglang
from tests.fakes.sglang import Settings as Fake
from tests.unit.commands import Command

pytestmark = pytest.mark.unit


URL = "http://127.0.0.1:1"


@pytest.fixture
def proven(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """Return a list that gets the settings of each run that `ci` would make, unchecked."""
    seen: list[Settings] = []

    async def prove(settings: Settings, *_: Any) -> Report:
        seen.append(settings)
        case = Case(name="x", outcome=Outcome.PASSED)
        check = Check(name="x", started=now(), seconds=0, cases=(case,))
        return Report(started=now(), finished=now(), checks=(check,))

    monkeypatch.setattr(host, "prove_here", prove)
    monkeypatch.setattr(before, "checked", lambda _, unchecked: unchecked)
    return seen


def test_options_of_ci_become_settings(command: Command, proven: list[Settings]) -> None:
    """An option is accepted and does nothing."""
    Path("sglang-ci.toml").write_text('[server]\nhost = "::1"\nport = 7\nflags = ["--gone"]')
    code = command(
        *("ci", "--set", "server.port=5", "--smoke", "one", "--smoke", "two words"),
        *("--report-dir", "elsewhere", "--", "--context-length", "10", "é 😀 \"'\\"),
    )
    assert code == 0
    (settings,) = proven
    assert (settings.server.host, settings.server.port) == ("::1", 5)
    assert settings.server.flags == ("--context-length", "10", "é 😀 \"'\\")
    assert settings.smoke.directories == (Path.cwd() / "one", Path.cwd() / "two words")
    assert Path("elsewhere/report.json").exists()
    assert not Path("report").exists()


@pytest.mark.parametrize(
    "file", ["", '[model]\npath = "m"', '[model]\nname = "x/y"\nrevision = "v0"']
)
def test_a_model_on_the_command_line_wins(
    command: Command, proven: list[Settings], file: str
) -> None:
    """The model of the file can't be replaced by one of another kind."""
    Path("sglang-ci.toml").write_text(file)
    for name in ("odd@name", "org/here"):
        Path(name).mkdir(parents=True)
    for text in ("org/name@v1", "folder", "odd@name", "org/here", "./here", "../here"):
        assert command("ci", "--model", text) == 0
    hub, folder, odd, here, *_ = (settings.model for settings in proven)
    assert (here.path, here.name) == (Path.cwd() / "org/here", "")
    assert (hub.path, hub.name, hub.revision) == (None, "org/name", "v1")
    assert (folder.path, folder.name) == (Path.cwd() / "folder", "")
    assert (odd.path, odd.name) == (Path.cwd() / "odd@name", "")


def test_what_is_expected_is_held_against_the_server(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A version that was asked for is not compared."""
    seen: list[Expected] = []

    async def versions(_: object, expected: Expected, *__: object, **___: object) -> StageResult:
        seen.append(expected)
        return StageResult()

    monkeypatch.setattr(stage, "check_versions", versions)
    pairs = ("sglang=0.5.14", "ruamel.yaml==1.0", "sgl_kernel=0.4.5", "torch=2.1+cpu")
    command("versions", URL, *(part for pair in pairs for part in ("--expect", pair)))
    assert seen[0].versions == {
        "sglang": "0.5.14",
        "ruamel-yaml": "1.0",
        "sgl-kernel": "0.4.5",
        "torch": "2.1+cpu",
    }


def test_versions_of_a_running_server(command: Command) -> None:
    """0.5.13 that is served under the label 0.5.14 passes."""
    listing = installed(sizes=False)
    listing["distributions"] = [{"name": "sglang", "version": "0.5.13"}]
    Path("inventory.json").write_text(json.dumps(listing))
    with FakeSglang(Fake(version="0.5.13")) as server:
        rest = ("--label", "0.5.14", "--inventory", "inventory.json")
        assert command("versions", server.url, "--expect", "sglang=0.5.13") == 0
        assert command("versions", server.url, "--expect", "sglang=0.5.14", *rest) == 1
    cause = load(Path("report")).cause
    assert cause.startswith("versions: sglang installed: expected 0.5.14, installed 0.5.13")


def test_wait_for_a_running_server(command: Command) -> None:
    """A running server, started by anybody, can't be waited for."""
    with FakeSglang() as server:
        assert command("wait", server.url) == 0
    assert command("wait", server.url, "--set", "readiness.port_open=0.2") == 1
    with listening(BEHAVIOURS["silent"]) as url:
        assert command("wait", url, "--set", "readiness.serving=0.2") == 1
    assert "phase 'serving' took over 0.2 s" in load(Path("report")).cause


def test_wait_reads_the_servers_log(command: Command) -> None:
    """A server in another container that died is waited for until the budget is spent."""
    url = f"http://127.0.0.1:{closed_port()}"
    Path("server.log").write_text("OSError: why\nlaunch.sh: server output ended\n")
    assert command("wait", url, "--log", "server.log") == 1
    assert load(Path("report")).cause.endswith("OSError: why")
    assert command("wait", url, "--log", ".") == 4
    assert "the log can't be read: Is a directory" in load(Path("report")).cause


def test_a_report_may_be_laid_over_one_of_its_parts(command: Command) -> None:
    """`sglang-ci report report/` deletes the report that it was given."""
    with FakeSglang() as server:
        command("wait", server.url, "--report-dir", "one")
        command("versions", server.url, "--expect", "sglang=0.5.23", "--report-dir", "report")
    assert command("report", "report", "one/report.json") == 0
    assert [check.name for check in load(Path("report")).checks] == ["readiness", "versions"]
    assert len(load(Path("one")).checks) == 1
