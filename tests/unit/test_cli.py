"""The command: its subcommands, what its options mean, and its exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ci import cli, pipeline
from ci.checks.inventory import inventory
from ci.errors import LaunchBlocked, ReportUnwritable, ServerExited, SglangCiError, UsageError
from ci.report.model import Case, Check, Report, now
from ci.report.write import load
from ci.settings import Settings
from ci.verdict import Outcome, Verdict
from tests.fakes.faulty import BEHAVIOURS, closed_port, listening
from tests.fakes.sglang import FakeSglang
from tests.fakes.sglang import Settings as Fake

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]
COMMANDS = ["ci", "serve", "wait", "versions", "smoke", "fetch", "report", "config"]
URL = "http://127.0.0.1:1"

Command = Callable[..., int]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Return a function that runs the command in an empty folder and returns its exit code."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith(("SGLANG_CI_", "GITHUB_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(signal, "signal", lambda *_: None)

    def run(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["sglang-ci", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        code = ended.value.code
        return code if isinstance(code, int) else 0

    return run


def stage_returns(monkeypatch: pytest.MonkeyPatch, *outcomes: Outcome) -> None:
    """Let the stage `versions` find cases with these outcomes."""
    cases = tuple(Case(name=str(at), outcome=one) for at, one in enumerate(outcomes))

    async def found(*_: object) -> Check:
        return Check(name="versions", started=now(), seconds=0, cases=cases)

    monkeypatch.setattr(pipeline, "versions", found)


def stage_raises(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """Let the stage `versions` raise."""

    async def broken(*_: object) -> Check:
        raise error

    monkeypatch.setattr(pipeline, "versions", broken)


@pytest.mark.parametrize(
    ("outcomes", "code"),
    [
        ([Outcome.PASSED, Outcome.SKIPPED], 0),
        ([Outcome.PASSED, Outcome.FAILED], 1),
        ([Outcome.PASSED, Outcome.INCONCLUSIVE], 3),
        ([Outcome.PASSED, Outcome.ERROR], 4),
        ([Outcome.SKIPPED], 4),
        ([], 4),
    ],
)
def test_the_exit_code_is_the_verdict(
    command: Command, monkeypatch: pytest.MonkeyPatch, outcomes: list[Outcome], code: int
) -> None:
    """A CI job is green although the server is bad, or nothing was checked."""
    stage_returns(monkeypatch, *outcomes)
    assert command("versions", URL) == code
    assert cli.EXIT[load(Path("report")).verdict] == code


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ServerExited(-9, "serving", "x"), 1),
        (LaunchBlocked("x", 70), 4),
        (KeyError("a bug"), 4),
    ],
)
def test_the_exit_code_of_a_stage_that_raises(
    command: Command, monkeypatch: pytest.MonkeyPatch, error: Exception, code: int
) -> None:
    """A bug of ours, or a machine without a GPU, reads as a bad server."""
    stage_raises(monkeypatch, error)
    assert command("versions", URL) == code
    assert load(Path("report")).verdict is (Verdict.FAILED if code == 1 else Verdict.ERROR)


@pytest.mark.parametrize(
    ("error", "code", "shown"),
    [
        (UsageError("bad flag"), 2, "sglang-ci: bad flag\n"),
        (ReportUnwritable("disk full"), 4, "sglang-ci: disk full\n"),
        (ZeroDivisionError("bug"), 4, "ZeroDivisionError: bug"),
    ],
)
def test_the_exit_code_outside_of_all_stages(
    command: Command,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    code: int,
    shown: str,
) -> None:
    """A traceback's exit code 1 reads as a bad server."""

    def broken(*_: object) -> None:
        raise error

    monkeypatch.setattr(cli, "load_settings", broken)
    assert command("config", "show") == code
    assert capsys.readouterr().err.endswith(shown if code == 2 else f"{shown.strip()}\n")


@pytest.mark.parametrize("name", ["", *COMMANDS, "config show", "config schema"])
def test_every_command_has_help(
    command: Command, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """A command or one of its options is not explained."""
    assert command(*name.split(), "--help") == 0
    shown = capsys.readouterr().out
    assert "Usage: " in shown
    assert all(known in shown for known in COMMANDS) or name


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nonsense"], "No such command"),
        (["wait"], "Missing argument"),
        (["wait", URL, "--nonsense"], "No such option"),
        (["wait", "localhost:30000"], "http:// or https://"),
        (["versions", "ftp://h:1"], "http:// or https://"),
        (["smoke", "http://h:99999"], "Port out of range"),
        (["ci", "--set", "server.port"], "--set server.port: not KEY=VALUE"),
        (["ci", "--set", "server.prt=1"], "did you mean 'port'?"),
        (["ci", "--set", "server.port=x"], "0 to 65535"),
        (["ci", "--config", "missing.toml"], "missing.toml: file: can't be read"),
        (["ci", "--model", "a b@c"], "model.name"),
        (["ci", "--model", "org/name@"], "needs a pinned revision"),
        (["versions", URL, "--expect", "torch"], "--expect torch: not NAME=VERSION"),
        (["versions", URL, "--expect", "torch=new"], "PEP 440"),
        (["report", "missing"], "can't be read"),
        (["report"], "Missing argument"),
        (["fetch", "org/name"], "Missing option"),
    ],
)
def test_usage_errors(
    command: Command, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    """A typing error runs something else, or exits as a bad server would."""
    assert command(*arguments) == 2
    assert words in capsys.readouterr().err
    assert not Path("report").exists()


@pytest.fixture
def proven(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """Return a list that gets the settings of each run that `ci` would make."""
    seen: list[Settings] = []

    async def prove(settings: Settings, *_: Any) -> Report:
        seen.append(settings)
        case = Case(name="x", outcome=Outcome.PASSED)
        check = Check(name="x", started=now(), seconds=0, cases=(case,))
        return Report(started=now(), finished=now(), checks=(check,))

    monkeypatch.setattr(pipeline, "prove", prove)
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
    Path("odd@name").mkdir()
    for text in ("org/name@v1", "folder", "odd@name"):
        assert command("ci", "--model", text) == 0
    hub, folder, odd = (settings.model for settings in proven)
    assert (hub.path, hub.name, hub.revision) == (None, "org/name", "v1")
    assert (folder.path, folder.name) == (Path.cwd() / "folder", "")
    assert (odd.path, odd.name) == (Path.cwd() / "odd@name", "")


def test_what_is_expected_is_held_against_the_server(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A version that was asked for is not compared."""
    seen: list[Settings] = []

    async def versions(_: str, settings: Settings, *__: object) -> Check:
        seen.append(settings)
        return Check(name="versions", started=now(), seconds=0)

    monkeypatch.setattr(pipeline, "versions", versions)
    pairs = ("sglang=0.5.14", "ruamel.yaml==1.0", "sgl_kernel=0.4.5", "torch=2.1+cpu")
    command("versions", URL, *(part for pair in pairs for part in ("--expect", pair)))
    assert seen[0].expected_versions() == {
        "sglang": "0.5.14",
        "ruamel-yaml": "1.0",
        "sgl-kernel": "0.4.5",
        "torch": "2.1+cpu",
    }


def test_versions_of_a_running_server(command: Command) -> None:
    """0.5.13 that is served under the label 0.5.14 passes."""
    Path("inventory.json").write_text(json.dumps(inventory() | {"sglang": "0.5.13"}))
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


def test_config_show_names_sources(
    command: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody can find out which layer a value came from."""
    Path("sglang-ci.toml").write_text('[server]\nhost = "node"')
    monkeypatch.setenv("SGLANG_CI_SERVER__PORT", "5")
    assert command("config", "show", "--set", "smoke.select=chat") == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"server.host = node  ({Path.cwd()}/sglang-ci.toml)" in lines
    assert "server.port = 5  (SGLANG_CI_SERVER__PORT)" in lines
    assert "smoke.select = chat  (command line)" in lines
    assert "server.device = auto  (default)" in lines


def test_config_schema_is_the_committed_one(
    command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command prints another schema than the one that editors load."""
    assert command("config", "schema") == 0
    committed = (ROOT / "docs" / "sglang-ci.schema.json").read_text()
    assert capsys.readouterr().out == committed


def test_the_command_runs_as_a_module(tmp_path: Path) -> None:
    """`python -m ci` isn't the command, or writes into the folder in which it runs."""
    done = subprocess.run(
        [sys.executable, "-m", "ci", "config", "show", "--set", "a.b=1"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("sglang-ci: command line: a: unknown key; allowed: image")
    assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_every_error_has_an_exit_code() -> None:
    """An error of the tree exits as another verdict."""
    assert set(cli.EXIT) == set(Verdict)
    assert len({*cli.EXIT.values(), cli.USAGE}) == len(Verdict) + 1
    assert cli.EXIT[SglangCiError.verdict] == 4
