"""Whole runs with another engine than SGLang: the same stages, and nothing of SGLang's."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ci.boot.serving import installed
from ci.errors import InfrastructureFault
from ci.report.model import Report
from ci.report.write import load
from ci.settings import Settings
from ci.settings.engine import EngineSettings
from ci.verdict import Outcome, Verdict
from tests.fakes.openai import fake_engine
from tests.unit.smoke_sessions import failed, session
from tests.unit.waiting import check

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]
Command = Callable[..., int]


def run(command: Command, folder: Path, *more: str) -> tuple[int, Report]:
    """Run `ci` on a fake server that this host starts; return exit code and report."""
    fake = ["{python}", "-m", "tests.fakes.openai", "--port", "{port}", *more]
    chosen = {
        "engine.profile": "openai",
        "engine.command": json.dumps(fake),
        "server.environment.PYTHONPATH": str(ROOT),
        "model.served_name": "tiny",
        "smoke.select": "openai or stream",
        "bench.requests": "8",
        "bench.concurrency": "[2]",
        "bench.warm_up_requests": "0",
    }
    options = [word for key, value in chosen.items() for word in ("--set", f"{key}={value}")]
    code = command("ci", "--report-dir", str(folder), *options)
    return code, load(folder)


def outcomes(report: Report) -> dict[str, Verdict]:
    """Return each stage and its verdict."""
    return {one.name: one.verdict for one in report.checks}


def test_a_good_server_of_another_engine_passes_every_stage(
    command: Command, tmp_path: Path
) -> None:
    """Another engine is held to what only SGLang has."""
    code, report = run(command, tmp_path)
    assert outcomes(report) == {
        "preflight": Verdict.PASSED,
        "readiness": Verdict.PASSED,
        "versions": Verdict.PASSED,
        "smoke": Verdict.PASSED,
        "bench": Verdict.PASSED,
        "shutdown": Verdict.PASSED,
    }
    assert code == 0
    smoke = next(one for one in report.checks if one.name == "smoke")
    skipped = {case.name for case in smoke.cases if case.outcome is Outcome.SKIPPED}
    assert "stream::generate stream equals the whole" in skipped
    assert "stream::completion stream equals the whole" not in skipped


@pytest.mark.long
def test_streams_that_are_cut_fail(command: Command, tmp_path: Path) -> None:
    """A bad server of another engine passes, for nobody looks."""
    code, report = run(command, tmp_path, "--fault", "cut")
    assert code == 1
    assert report.verdict is Verdict.FAILED
    assert "stream::completion" in report.cause


@pytest.mark.long
def test_another_model_than_expected_fails(command: Command, tmp_path: Path) -> None:
    """The wrong model of another engine is promoted."""
    code, report = run(command, tmp_path, "--name", "other")
    assert code == 1
    assert "expected tiny, served other" in report.cause


def test_an_engine_that_is_not_installed_blames_nobody(command: Command, tmp_path: Path) -> None:
    """A server is called bad although it was never started."""
    for chosen in ("engine.profile=tgi", "engine.profile=llama-cpp"):
        options = ["--set", chosen, "--set", f"model.path={tmp_path}"]
        options += ["--set", f"engine.python={sys.executable}"]
        assert command("ci", "--report-dir", str(tmp_path / "report"), *options) == 4
        assert "isn't installed" in load(tmp_path / "report").cause


@pytest.mark.long
@pytest.mark.anyio
@pytest.mark.parametrize("python", ["", sys.executable])
async def test_what_an_engine_without_a_package_has_is_not_known(python: str) -> None:
    """A program is held against what some interpreter has installed, and fails."""
    engine = EngineSettings(profile="llama-server", python=python)
    assert await installed(Settings(engine=engine)) is None
    known = EngineSettings(profile="llama-cpp", python=python)
    found = await installed(Settings(engine=known))
    assert found is not None
    assert "pytest" in found.versions


@pytest.mark.anyio
async def test_what_the_servers_own_interpreter_has_is_listed(tmp_path: Path) -> None:
    """A server of another interpreter is held against what this command's own has."""
    python = tmp_path / "python"
    told = {"schema_version": "1.2", "python": "$MARK", "distributions": []}
    python.write_text(f"#!/bin/sh\ncat <<END\n{json.dumps(told)}\nEND\n")
    python.chmod(0o755)
    own = {"PYTHON": str(python), "MARK": "9.9"}
    found = await installed(Settings.model_validate({"server": {"environment": own}}))
    assert found is not None
    assert (found.python, found.distributions) == ("9.9", ())
    for broken in ("exit 3", "echo nothing"):
        python.write_text(f"#!/bin/sh\n{broken}\n")
        with pytest.raises(InfrastructureFault, match="can't list what it has installed"):
            await installed(Settings.model_validate({"server": {"environment": own}}))


def test_an_engine_that_starts_nothing_says_what_to_set(command: Command, tmp_path: Path) -> None:
    """A user of the plain OpenAI profile doesn't learn how to name a command."""
    options = ["--set", "engine.profile=openai", "--report-dir", str(tmp_path)]
    command("ci", *options)
    assert "set engine.command" in load(tmp_path).cause


@pytest.mark.parametrize("pages", [{"/v1/models": 404}, {"/v1/models": {"data": []}}])
def test_something_else_ends_the_suite_at_once(tmp_path: Path, pages: dict[str, object]) -> None:
    """Seventy cases fail for one reason, or blame SGLang."""
    with fake_engine(pages) as url:
        cases = session(
            url, tmp_path / "cases", "--sglang-engine=vllm", str(ROOT / "ci/smoke/suite")
        )
    assert len(failed(cases)) == 2
    assert "not vLLM" in next(iter(cases.values())).message


@pytest.mark.anyio
@pytest.mark.usefixtures("impatient")
async def test_readiness_of_another_engine_never_speaks_of_sglang() -> None:
    """A user of vLLM is told that their server is no SGLang."""
    from ci import engines

    with fake_engine() as url:
        found = await check(url, engine=engines.profile("vllm"))
    assert found.verdict is Verdict.PASSED
    with fake_engine({"/health": 404, "/v1/models": 404}) as url:
        found = await check(url, engine=engines.profile("vllm"))
    assert found.verdict is Verdict.FAILED
    assert "SGLang" not in found.cause
