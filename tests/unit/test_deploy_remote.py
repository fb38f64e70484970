"""`sglang-ci deploy` on another host: a real SSH server on loopback, HAProxy, and a fake SGLang."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import anyio
import pytest

from ci.release.signing import new_key
from ci.report.write import load
from ci.verdict import Verdict
from tests.fakes.launched import PLAN, Plan
from tests.fakes.ssh import SshHost, ssh_host
from tests.reports import check_of
from tests.unit.commands import Command
from tests.unit.remote import ENVIRONMENT, SECRET, Project, project
from tests.unit.router_rigs import INSTALLED

pytestmark = [
    pytest.mark.unit,
    pytest.mark.skipif(not INSTALLED, reason="haproxy isn't installed"),
]
SLOW = Plan(open_after=600)
"""A server that is waited for long enough to be interrupted."""


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshHost]:
    """A host that lets one user in."""
    with ssh_host(tmp_path_factory.mktemp("host")) as host:
        yield host


@pytest.fixture
def far(
    command: Command, host: SshHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Project]:
    """A project whose environment is on that host."""
    with project(tmp_path, host, command, monkeypatch) as made:
        yield made


def plan(far: Project, plan: Plan) -> None:
    """Have the next server go by a plan."""
    far.host.environ[PLAN] = json.dumps(asdict(plan))


def world(far: Project) -> list[tuple[str, int]]:
    """Return life and share of each slot."""
    seen = anyio.run(far.grounds.looked)
    return [(slot.life.value, seen.routes[name].share) for name, slot in seen.slots.items()]


def started(far: Project) -> subprocess.Popen[bytes]:
    """Start a deployment in a process of its own; return once its server is proven there."""
    argv = [sys.executable, "-m", "ci", "deploy", *ENVIRONMENT]
    root = str(Path(__file__).parents[2])
    environ = os.environ | {"PYTHONPATH": root}
    with (far.folder / "output.txt").open("wb") as output:
        process = subprocess.Popen(
            argv, stdout=output, stderr=subprocess.STDOUT, cwd=far.folder, env=environ
        )
    end = time.monotonic() + 60
    while "proving blue" not in (text := (far.folder / "output.txt").read_text()):
        assert process.poll() is None, text
        assert time.monotonic() < end, text
        time.sleep(0.05)
    return process


@pytest.mark.long
def test_a_host_is_deployed_to_as_this_one_is(
    far: Project, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A release doesn't go out there, nobody here sees it, or a secret is where it isn't due.

    No key goes to the host, no password where nothing is pulled, and none of what the order has
    lies in a file that others may read, or stands in a log.
    """
    signing = new_key()[0]
    monkeypatch.setenv("SIGNING_KEY", signing)
    monkeypatch.setenv("REGISTRY_USERNAME", "me")
    monkeypatch.setenv("REGISTRY_PASSWORD", "planted-password-4e8f")
    plan(far, Plan(tells="PLANTED_TOKEN"))
    code, report = far.deployed()
    assert (code, report.verdict) == (0, Verdict.PASSED), report.cause
    assert [check.name for check in report.checks] == ["readiness", "versions", "smoke", "deploy"]
    assert check_of(report, "smoke").cases[0].name.endswith("test_answers")
    assert check_of(report, "deploy").phases
    assert report.facts["host"] == far.host.address
    assert far.asked("deploy", "status") == 0
    told = capfd.readouterr()
    for words in ("] smoke: PASSED", "proving blue at 127.0.0.1", "blue: up since", "share 100 of"):
        assert words in told.out
    heard = bytes(far.host.heard)
    assert SECRET.encode() in heard
    keys = (signing, far.host.key.read_text())
    for word in ("planted-password-4e8f", *(key.splitlines()[1] for key in keys)):
        assert word.encode() not in heard
    assert SECRET not in "".join(far.host.asked) + told.out + told.err
    (far.folder / "sglang-ci.toml").unlink()
    found = [path for path in _files(far.folder, far.host.home) if SECRET in _text(path)]
    assert {path.name for path in found} <= {"there.toml", "server.log"}, found
    logs = [path for path in found if path.name == "server.log"]
    assert all(path.stat().st_mode & 0o77 == 0 for path in logs)


def _files(*folders: Path) -> Iterator[Path]:
    for folder in folders:
        yield from (path for path in folder.rglob("*") if path.is_file())


def _text(path: Path) -> str:
    return path.read_text(errors="replace")


@pytest.mark.long
def test_an_interrupt_here_ends_the_run_there(far: Project) -> None:
    """Ctrl-C leaves a deployment on that goes on by itself, or loses what was found."""
    plan(far, SLOW)
    process = started(far)
    other = str(far.folder / "other")
    assert far.asked("deploy", "abort", "--report-dir", other) == 4
    busy = check_of(load(Path(other)), "deploy").cause
    assert "another deployment to test goes on" in busy
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    report = load(far.folder / "report")
    assert report.interrupted == "SIGINT"
    assert "interrupted by SIGINT" in str(report.checks)
    assert {check.name for check in report.checks} >= {"readiness"}
    assert far.host.running[-2].returncode is not None
    assert world(far) == [("up", 0), ("absent", 0)]


@pytest.mark.long
def test_the_connection_breaks_and_the_next_command_resumes(far: Project) -> None:
    """A cut leaves the host's lock or a half server behind, or the cause unsaid."""
    plan(far, SLOW)
    process = started(far)
    far.host.cut()
    assert process.wait(60) == 4
    report = load(far.folder / "report")
    assert "the connection broke" in report.cause
    assert "repeat the command to resume" in report.cause
    plan(far, Plan())
    code, report = far.deployed()
    assert (code, report.verdict) == (0, Verdict.PASSED), report.cause
