"""`sglang-ci deploy` from end to end: a real HAProxy, the real launch.sh, and a fake SGLang."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import anyio
import httpx
import pytest

from ci.deploy.demo import clear
from ci.deploy.grounds import Grounds
from ci.deploy.wanted import Stage
from ci.deploy.world import Life
from ci.report.model import Report
from ci.report.write import load
from ci.settings import load as read
from ci.traffic.options import TrafficOptions
from ci.traffic.pace import streams
from ci.traffic.records import Ending, StreamRecord
from ci.verdict import Verdict
from tests.fakes.launched import PLAN, Plan, install
from tests.rare import LONG, rare
from tests.reports import check_of
from tests.unit.commands import Command
from tests.unit.launching import free_port, program
from tests.unit.router_rigs import INSTALLED
from tests.unit.smg_rigs import SMG_NEEDED, running_smg

pytestmark = [
    pytest.mark.unit,
    pytest.mark.skipif(not INSTALLED, reason="haproxy isn't installed"),
]
SETTINGS = """
[server]
device = "cpu"
stop_grace = 5
[smoke]
builtin = false
directories = ["cases"]
[readiness]
port_open = 10
[environments.test.deploy]
folder = "{folder}"
port = {port}
grace = 20
"""
CASES = """
import os, pathlib, time

def test_answers(ask):
    assert ask.generate("a") == ask.generate("a")

def test_takes_its_time():
    stop = pathlib.Path("stop")
    while stop.exists():
        time.sleep(0.05)
"""
WHY = "ValueError: why"
ALONE = {"router": "none", "strategy": "replace"}
IMPATIENT = ("readiness.serving=2", "readiness.first_token=1")
ENVIRONMENT = ("--environment", "test")


@pytest.fixture
def place(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project that is deployed to this host; whatever runs is ended afterwards."""
    for name, value in install(tmp_path / "installed").items():
        monkeypatch.setenv(name, value)
    (tmp_path / "cases").mkdir()
    (tmp_path / "cases/test_own.py").write_text(CASES)
    with tempfile.TemporaryDirectory() as folder:
        text = SETTINGS.format(folder=folder, port=free_port())
        (tmp_path / "sglang-ci.toml").write_text(text)
        yield tmp_path
        anyio.run(clear, grounds(tmp_path))


def grounds(place: Path) -> Grounds:
    """Return what the project's environment stands on."""
    return Grounds.of(read(place / "sglang-ci.toml", {}).settings, "test")


def deployed(command: Command, *flags: str) -> tuple[int, Report]:
    """Deploy by further settings, and return exit code and report."""
    given = [part for flag in flags for part in ("--set", flag)]
    code = command("deploy", *ENVIRONMENT, *given)
    return code, load(Path("report"))


def planned(monkeypatch: pytest.MonkeyPatch, **changes: object) -> None:
    """Have the next server go by a plan."""
    monkeypatch.setenv(PLAN, json.dumps(asdict(replace(Plan(), **changes))))  # type: ignore[arg-type]


def released(word: str) -> str:
    """Return the setting that makes a release of its own."""
    return f'server.environment={{RELEASE = "{word}"}}'


def test_a_plan_names_what_does_not_fit(
    command: Command, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A slot with one GPU gets a server that needs two, and SGLang says so after its imports."""
    few = ("target=container", "gpus={blue=[0],green=[0,1]}", "program=podman")
    program(place / "podman", "exit 0")
    given = [part for text in few for part in ("--set", f"environments.test.deploy.{text}")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{place}:{os.environ['PATH']}")
        code = command("deploy", "plan", *ENVIRONMENT, *given, "--set", 'server.flags=["--tp=2"]')
    told, err = capsys.readouterr()
    assert code == 2, told + err
    assert "\nmisfit: the flags need 2 GPUs, and deploy.gpus.blue names 1: name more" in told, err
    assert "1. fetch" in told


@pytest.mark.long
def test_first_second_and_status(
    command: Command, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A release doesn't go out, a second one doesn't take its place, or nobody sees what runs."""
    assert command("deploy", "plan", *ENVIRONMENT) == 0
    assert "prove the server in blue" in capsys.readouterr().out
    code, report = deployed(command, released("one"))
    assert (code, report.verdict) == (0, Verdict.PASSED), report.cause
    names = [case.name for case in check_of(report, "deploy").cases]
    assert names[-1] == "the release answers through the router"
    code, report = deployed(command, released("two"))
    assert (code, report.verdict) == (0, Verdict.PASSED), report.cause
    capsys.readouterr()
    assert command("deploy", "status", *ENVIRONMENT) == 0
    told = capsys.readouterr().out
    assert "blue: absent" in told
    assert "green: up since" in told
    assert "share 100 of 100" in told


@pytest.mark.long
def test_a_server_with_a_key_of_its_own_flags_goes_out(command: Command, place: Path) -> None:
    """A slot whose server wants a key is asked without it, and a good release is an ERROR."""
    code, report = deployed(command, 'server.flags=["--api-key=sk-of-the-slot"]')
    assert (code, report.verdict) == (0, Verdict.PASSED), report.cause
    assert "sk-of-the-slot" not in (place / "report/report.json").read_text()


@pytest.mark.long
def test_nothing_to_do(command: Command, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A repeated deployment starts something, or a frozen environment takes something new."""
    deployed(command, released("one"))
    code, report = deployed(command, released("one"))
    assert (code, [check.name for check in report.checks]) == (0, ["deploy"])
    assert not check_of(report, "deploy").phases
    frozen = "environments.test.frozen=an incident"
    assert deployed(command, released("one"), frozen)[0] == 0
    capsys.readouterr()
    argv = [*ENVIRONMENT, "--set", released("two"), "--set", frozen]
    assert command("deploy", *argv) == 2
    assert "test is frozen: an incident" in capsys.readouterr().err
    assert command("deploy", "plan", *argv) == 0
    assert capsys.readouterr().out.startswith("not now: test is frozen: an incident")
    assert anyio.run(grounds(place).look).slots["green"].release is None


@pytest.mark.parametrize(
    ("plan", "cause"),
    rare(
        [
            (
                {"dies_after": 0.3, "open_after": 30.0, "last_words": "ValueError: why"},
                "ValueError: why",
            ),
            ({"faults": ("unavailable",)}, "readiness"),
            ({"version": "0.5.22"}, "0.5.22"),
            ({"dies_on": "/generate", "last_words": WHY}, WHY),
            ({"faults": ("unrepeatable",)}, "smoke: "),
        ],
        1,
    ),
    ids=["dies", "never ready", "other version", "dies of its proof", "fails its smoke"],
)
def test_a_bad_release_is_taken_back(
    command: Command,
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    plan: dict[str, object],
    cause: str,
) -> None:
    """A bad release gets traffic, stays, or ends the good one."""
    deployed(command, released("good"))
    planned(monkeypatch, **plan)
    code, report = deployed(command, released("bad"), *IMPATIENT)
    assert (code, report.verdict) == (1, Verdict.FAILED)
    assert cause in report.cause + str(check_of(report, "deploy").cases)
    world = anyio.run(grounds(place).look)
    assert [slot.life.value for slot in world.slots.values()] == ["up", "absent"]
    assert world.routes["blue"].share == 100


@pytest.fixture(params=["haproxy", pytest.param("smg", marks=[SMG_NEEDED, LONG])])
def routed(request: pytest.FixtureRequest, place: Path) -> Iterator[str]:
    """Have a router move the project's traffic; yield which one."""
    if request.param == "smg":
        with running_smg(place) as (url, metrics):
            with (place / "sglang-ci.toml").open("a") as file:
                file.write(f'router = "smg"\nurl = "{url}"\nmetrics = "{metrics}"\n')
            yield request.param
    else:
        yield request.param


@pytest.mark.long
def test_no_stream_is_lost_on_the_way(command: Command, place: Path, routed: str) -> None:
    """A switch cuts or refuses streams."""
    assert deployed(command, released("one"))[0] == 0
    at = grounds(place)
    records: list[StreamRecord] = []

    async def switch() -> None:
        until = anyio.Event()
        asked = at.settings.traffic.model_copy(update={"rate": 20.0, "api": "generate"})
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(
                streams, at.router.url, TrafficOptions(asked, 60), records.append, until
            )
            await anyio.sleep(0.5)
            ran = await anyio.run_process(
                [sys.executable, "-m", "ci", "deploy", *ENVIRONMENT, "--set", released("two")],
                check=False,
            )
            assert ran.returncode == 0, ran.stdout
            await anyio.sleep(0.5)
            until.set()

    anyio.run(switch)
    assert len(records) > 20
    assert {one.ending for one in records} == {Ending.GOOD}, [one.why for one in records if one.why]
    slots = {one.slot for one in records}
    assert slots == {"blue", "green"} or (routed == "smg" and len(slots) == 2)


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_deployer_that_is_killed_is_gone_on_with(
    command: Command, place: Path, capsys: pytest.CaptureFixture[str], number: signal.Signals
) -> None:
    """A cancelled job leaves a lock, a second candidate, or traffic nowhere; or two jobs meet."""
    deployed(command, released("one"))
    Path("stop").touch()
    flags = [*ENVIRONMENT, "--report-dir", "killed", "--set", released("two")]
    with subprocess.Popen([sys.executable, "-m", "ci", "deploy", *flags], stdout=-3) as job:
        while anyio.run(grounds(place).look).slots["green"].life is not Life.UP:
            time.sleep(0.1)
        assert deployed(command, released("two"))[0] == 4
        assert command("deploy", "wait", *ENVIRONMENT, "--seconds", "0") == 3
        job.send_signal(number)
        job.wait()
    assert "another deployment to test goes on" in capsys.readouterr().out
    world = anyio.run(grounds(place).look)
    assert [world.routes[slot].share for slot in ("blue", "green")] == [100, 0]
    began = world.slots["green"].started
    Path("stop").unlink()
    assert command("deploy", "resume", *ENVIRONMENT, "--set", released("two")) == 0
    world = anyio.run(grounds(place).look)
    assert (world.slots["green"].started, world.routes["green"].share) == (began, 100)
    assert world.slots["blue"].life is Life.ABSENT
    assert command("deploy", "wait", *ENVIRONMENT) == 0


@pytest.mark.long
def test_one_server_without_a_router(command: Command, place: Path) -> None:
    """Who has one GPU and no router can't deploy, or isn't told how long nothing answered."""
    alone = [f"environments.test.deploy.{one}={how}" for one, how in ALONE.items()]
    assert command("deploy", *ENVIRONMENT, "--set", "environments.test.deploy.router=none") == 2
    code, report = deployed(command, released("one"), *alone)
    assert (code, report.verdict) == (0, Verdict.PASSED), report.cause
    assert "downtime" not in check_of(report, "deploy").facts
    code, report = deployed(command, released("two"), *alone)
    assert (code, report.verdict) == (0, Verdict.PASSED), report.cause
    check = check_of(report, "deploy")
    assert check.facts["speed"].startswith("not compared: one copy at a time")
    assert re.fullmatch(r"[\d.]+ s: .*start [\d.]+ s.*", check.facts["downtime"])
    causes = {figure.name: figure.value for figure in check.figures}
    whole = causes.pop("downtime")
    assert 0 < sum(causes.values()) < whole + 1
    assert "downtime: proof" not in causes
    assert check.cases[-1].name == "the release answers through the router"
    assert anyio.run(httpx.AsyncClient().get, f"{grounds(place).router.url}/health").is_success


def test_stages_are_those_of_the_settings(place: Path) -> None:
    """A canary goes to everything at once, or past the gate that a person has to open."""
    with (place / "sglang-ci.toml").open("a") as file:
        file.write('strategy = "canary"\nshares = [10, 50]\nhold = 7\ngates = [50]\nwatch = 9\n')
    assert grounds(place).stages == (Stage(10, 7), Stage(50, 7, gate=True), Stage(100, 9))


@pytest.mark.parametrize("wrong", ["shares=[50, 10]", "gates=[20]", "allowed_loss=0.5", "hold=0"])
def test_settings_that_lead_nowhere(place: Path, command: Command, wrong: str) -> None:
    """A wrong setting is found when a release has half of the traffic."""
    wrong = f"environments.test.deploy.{wrong}"
    assert command("deploy", *ENVIRONMENT, "--set", wrong) == 2


def test_an_environment_that_needs_a_registry_says_so(
    command: Command, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What nobody approved goes out because no registry is named."""
    with (place / "sglang-ci.toml").open("a") as file:
        file.write('[environments.test]\nafter = "dev"\n[environments.dev]\n')
    assert command("deploy", *ENVIRONMENT) == 2
    assert "registry.repository" in capsys.readouterr().err
    assert command("rollback", *ENVIRONMENT) == 2
    assert command("deploy", "--environment", "nowhere") == 2
    assert command("deploy") == 2
