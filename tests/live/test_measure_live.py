"""Load and comparisons on real servers.

No assertion here hangs on a figure: what must be told apart differs by half and more, some ten
times the noise of a block on a busy machine, and what must be equal is one and the same server.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ci.boot.process import ServerProcess
from ci.verdict import Outcome, Verdict
from tests.live.conftest import Command

pytestmark = pytest.mark.live

LOAD = ("--set", "bench.output=8", "--set", "bench.input=64", "--set", "bench.warm_up_requests=32")
GATE = tuple(
    part
    for text in (
        *("concurrency=4", "requests=8", "pairs=20"),
        *("slowdown=1", "least=0.5"),
    )
    for part in ("--set", f"gate.{text}")
)


def test_bench_counts_what_the_server_counts(command: Command, live_server: ServerProcess) -> None:
    """The client's requests or tokens aren't those that SGLang saw, or files are missing."""
    load = ("--concurrency", "4", "--rate", "4", "--requests", "24")
    run = command("bench", live_server.url, *load, *LOAD)
    assert run.wait() in {0, 3}, run.output()
    (check,) = run.report().checks
    cases = {case.name: case.outcome for case in check.cases}
    for label in ("concurrency 4", "4 requests/s"):
        assert cases[f"{label}: every request succeeds"] is Outcome.PASSED, check.cases
        assert cases[f"{label}: answers have the length asked for"] is Outcome.PASSED
        same = cases[f"{label}: server counts the same requests and tokens"]
        assert same is Outcome.PASSED, check.cases
    folder = run.folder / "report"
    loads = json.loads((folder / "bench.json").read_text())["loads"]
    assert [one["summary"]["completed"] for one in loads] == [24, 24]
    assert loads[0]["summary"]["output_tokens"] == 24 * 8
    assert (folder / "bench-2.jsonl.gz").stat().st_size


def test_chat_streams_are_measured_as_well(command: Command, live_server: ServerProcess) -> None:
    """The OpenAI API's streams can't be read, or their tokens aren't counted."""
    chat = ("--set", "bench.api=chat", "--concurrency", "2", "--requests", "8")
    run = command("bench", live_server.url, *chat, *LOAD)
    assert run.wait() in {0, 3}, run.output()
    (check,) = run.report().checks
    assert check.facts["requests"] == "8 of 8 complete", check.cases


def test_the_gate_knows_an_equal_server_and_a_slow_one(
    command: Command, live_server: ServerProcess
) -> None:
    """An identical server is stopped, or one that takes twice as long gets through."""
    run = command("compare", live_server.url, "--self-test", *LOAD, *GATE)
    assert run.wait() in {0, 3}, run.output()
    (check,) = run.report().checks
    cases = {case.name: case for case in check.cases}
    assert cases["equal servers"].outcome is Outcome.PASSED, cases["equal servers"]
    slowed = cases["server slowed by 100 %"]
    assert slowed.outcome is Outcome.PASSED, slowed
    assert len((run.folder / "report" / "pairs.jsonl").read_text().splitlines()) == 20


@pytest.mark.long
def test_a_candidate_with_a_slow_flag_fails_the_whole_run(
    command: Command, live_server: ServerProcess, tmp_path: Path
) -> None:
    """A flag that makes users wait for each other passes every check."""
    settings = tmp_path / "sglang-ci.toml"
    settings.write_text(
        '[server]\nflags = ["--max-running-requests=1"]\n[smoke]\nselect = "greedy"\n'
        "[bench]\nin_ci = false\n"
    )
    arguments = ("--config", str(settings), "--baseline", live_server.url)
    run = command("ci", *arguments, *LOAD, *GATE)
    assert run.wait() == 1, run.output()
    report = run.report()
    checks = {check.name: check for check in report.checks}
    stages = ["readiness", "versions", "smoke", "compare", "shutdown"]
    assert list(checks) == ["preflight", *stages]
    assert checks["compare"].verdict is Verdict.FAILED
    assert "slower" in report.cause
    assert checks["compare"].facts["baseline"] == live_server.url
    failed = {case.name for case in checks["compare"].cases if case.outcome is Outcome.FAILED}
    assert {"ttft", "e2e"} <= failed
