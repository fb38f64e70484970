"""The command: its subcommands, what its options mean, and its exit codes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ci.commands import options
from ci.commands.outcome import EXIT, USAGE
from ci.errors import LaunchBlocked, ReportUnwritable, ServerExited, SglangCiError, UsageError
from ci.report.model import Case
from ci.report.write import load
from ci.stages import StageResult, Tell
from ci.verdict import Outcome, Verdict
from ci.versions import stage
from tests.unit.commands import Command

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]
COMMANDS = ["ci", "prove", "serve", "wait", "versions", "smoke", "fetch", "report", "config"]
URL = "http://127.0.0.1:1"


def stage_returns(monkeypatch: pytest.MonkeyPatch, *outcomes: Outcome) -> None:
    """Let the stage `versions` find cases with these outcomes."""
    cases = tuple(Case(name=str(at), outcome=one) for at, one in enumerate(outcomes))

    async def found(_: object, __: object, tell: Tell, **___: object) -> StageResult:
        for case in cases:
            tell(case)
        return StageResult()

    monkeypatch.setattr(stage, "check_versions", found)


def stage_raises(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """Let the stage `versions` raise."""

    async def broken(*_: object, **__: object) -> StageResult:
        raise error

    monkeypatch.setattr(stage, "check_versions", broken)


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
    assert EXIT[load(Path("report")).verdict] == code


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

    monkeypatch.setattr(options, "load", broken)
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
        (["ci", "--model", "org/name"], "its revision: --model org/name@REVISION"),
        (["serve", "--model", "org/name-1.1B"], "its revision: --model org/name-1.1B@REVISION"),
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
    assert set(EXIT) == set(Verdict)
    assert len({*EXIT.values(), USAGE}) == len(Verdict) + 1
    assert EXIT[SglangCiError.verdict] == 4
