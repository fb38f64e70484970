"""What the README shows, run as it stands there: the commands that need no engine."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ci.boot.process import ServerProcess
from ci.platform import TINY_MODEL
from ci.report.write import load
from ci.verdict import Outcome, Verdict
from tests.readme import ROOT, readme, run
from tests.reports import check_of

pytestmark = pytest.mark.live


def test_make_ci_proves_a_real_server(tmp_path: Path) -> None:
    """The one command a newcomer types passes, and leaves a whole report."""
    folder = tmp_path / "report"
    more = "--set model.served_name=tiny --set bench.requests=32"
    argv = [*readme("make ci"), f"ARGS=--report-dir {folder} {more}"]
    ran = run(tmp_path, [argv[0], "-C", str(ROOT), *argv[1:]])
    assert ran.returncode == 0, ran.stdout + ran.stderr
    report = load(folder)
    assert report.verdict is Verdict.PASSED
    assert [check.name for check in report.checks] == [
        "preflight",
        "readiness",
        "versions",
        "smoke",
        "bench",
        "shutdown",
    ]
    assert [stage.stage for stage in report.not_run] == ["image", "publish", "compare"]
    written = {path.name for path in folder.iterdir()}
    assert {"report.json", "junit.xml", "summary.md", "index.html", "server.log"} <= written
    phases = {phase.name: phase for phase in check_of(report, "readiness").phases}
    assert {"process started", "port open", "serving", "first token"} <= set(phases)
    assert {"arguments", "scheduler", "weights", "KV cache", "warm-up"} <= set(phases)
    assert phases["weights"].within == "port open"


@pytest.mark.parametrize("stage", ["prove", "wait", "versions", "smoke"])
def test_stages_against_a_running_server(
    live_server: ServerProcess, tmp_path: Path, stage: str
) -> None:
    """A reader with a server of their own gets a verdict on it."""
    argv = {
        "prove": [*readme("sglang-ci prove"), "--set", "smoke.select=greedy"],
        "wait": readme("sglang-ci wait"),
        "versions": readme("sglang-ci versions"),
        "smoke": [*readme("sglang-ci smoke"), "-k", "dish or greedy"],
    }[stage]
    shutil.copytree(ROOT / "examples" / "command" / "cases", tmp_path / "tests" / "smoke")
    argv = [live_server.url if word == "http://localhost:30000" else word for word in argv]
    ran = run(tmp_path, argv)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert load(tmp_path / "report").verdict is Verdict.PASSED


@pytest.mark.long
def test_own_model(tmp_path: Path) -> None:
    """A reader with a model folder gets it started, proven and stopped."""
    shutil.copytree(TINY_MODEL, tmp_path / "my-model")
    ran = run(
        tmp_path,
        readme("sglang-ci ci --model ./my-model"),
        SGLANG_CI_SMOKE__SELECT="greedy",
        SGLANG_CI_BENCH__IN_CI="false",
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert check_of(load(tmp_path / "report"), "readiness").facts["url"].startswith("http://")


def test_hub_model(tmp_path: Path) -> None:
    """A reader with a hub model and no way to the hub is told so in one line that names it."""
    argv = readme("sglang-ci ci --model TinyLlama/")
    ran = run(tmp_path, argv, HF_HUB_OFFLINE="1", HF_HOME=str(tmp_path / "hub"))
    assert ran.returncode == 4, ran.stdout + ran.stderr
    assert "TinyLlama/" in load(tmp_path / "report").cause


def test_example_proves_a_running_server(live_server: ServerProcess, tmp_path: Path) -> None:
    """A user who copies the example gets a report with every stage, and their own case in it."""
    folder = shutil.copytree(ROOT / "examples" / "command", tmp_path / "examples" / "command")
    argv = readme("examples/command/prove", {"http://localhost:30000": live_server.url})
    ran = run(tmp_path, argv, SGLANG_CI_BENCH__IN_CI="false")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    report = load(folder / "report")
    assert report.verdict is Verdict.PASSED
    assert [check.name for check in report.checks] == ["readiness", "versions", "smoke"]
    mine = [case for case in check_of(report, "smoke").cases if "dish" in case.name]
    assert [case.outcome for case in mine] == [Outcome.PASSED]


@pytest.mark.long
def test_two_sets_of_settings(tmp_path: Path) -> None:
    """A reader who changed a flag is told that the server is faster now, and by how much."""
    (tmp_path / "baseline.toml").write_text('[server]\nflags = ["--max-running-requests=1"]\n')
    gate = {"concurrency": 4, "requests": 8, "pairs": 10, "slowdown": 1, "least": 0.5}
    quick = {"interim": "false", "repeat": "false"}
    own = {f"SGLANG_CI_GATE__{key.upper()}": str(value) for key, value in (gate | quick).items()}
    own |= {"SGLANG_CI_SMOKE__SELECT": "greedy", "SGLANG_CI_BENCH__IN_CI": "false"}
    own["SGLANG_CI_GATE__METRICS"] = '["ttft", "e2e"]'  # alone on a server a token comes sooner
    ran = run(tmp_path, readme("sglang-ci ci --baseline"), **own)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    compared = next(check for check in load(tmp_path / "report").checks if check.name == "compare")
    assert compared.facts["baseline"] == "started here"
    assert next(case for case in compared.cases if case.name == "ttft").message.startswith("faster")
