"""The commands that measure, against servers of known timing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ci.report.model import Check
from ci.report.write import load
from ci.verdict import Outcome, Verdict
from tests.fakes.faulty import closed_port
from tests.fakes.timed import Timed, Timing
from tests.readme import readme
from tests.unit.commands import Command

pytestmark = pytest.mark.unit

FAST, SLOW = Timing(ttft=0.01, itl=0.002), Timing(ttft=0.1, itl=0.02)
LIGHT = (
    *("--set", "bench.output=12", "--set", "bench.warm_up_requests=16", "--set", "bench.poll=0"),
    *("--set", "gate.concurrency=2", "--set", "gate.requests=4", "--set", "gate.pairs=12"),
    *("--set", "gate.others=1", "--set", "gate.wait=0"),
    *("--set", "gate.slowdown=1", "--set", "gate.least=0.5", "--set", "bench.warm_up_drift=5"),
)
"""Small blocks, and a slow-down that no noise of a busy machine is taken for."""


def check() -> Check:
    """Return the one check of the report that was left."""
    (found,) = load(Path("report")).checks
    return found


def own(argv: list[str], *servers: Timed) -> list[str]:
    """Return the arguments of a command of the README, with these servers for the reader's."""
    ports = {f"http://localhost:{30_000 + at}": one.url for at, one in enumerate(servers)}
    return [ports.get(word, word) for word in argv[1:]]


@pytest.mark.long
def test_bench_leaves_its_figures_and_records(command: Command) -> None:
    """A bench is over and nothing can be read of it, or what was asked isn't what was sent."""
    with Timed(FAST) as server:
        code = command(*own(readme("sglang-ci bench"), server), "--requests", "48", *LIGHT)
    found = check()
    assert code in {0, 3}, found.cause
    document = json.loads(Path("report/bench.json").read_text())
    labels = [one["load"]["label"] for one in document["loads"]]
    assert labels == ["concurrency 8", "concurrency 32"]
    assert [one["summary"]["ttft"]["count"] for one in document["loads"]] == [48, 48]
    figures = {figure.name: figure for figure in found.figures}
    assert figures["concurrency 8: TTFT p50"].value >= FAST.ttft
    assert "Latency against throughput" in {plot.title for plot in found.plots}
    assert Path("report/bench-2.jsonl.gz").stat().st_size
    assert len(Path("report/bench_serving.jsonl").read_text().splitlines()) == 2


def test_bench_of_nothing_is_failed(command: Command) -> None:
    """A server that isn't there passes, or reads as a fault of the client."""
    assert command("bench", f"http://127.0.0.1:{closed_port()}", *LIGHT) == 1
    assert check().verdict is Verdict.FAILED


@pytest.mark.long
def test_compare_passes_an_equal_server_and_says_what_was_compared(command: Command) -> None:
    """An equal candidate is stopped, or nobody can say later what it was held against."""
    with Timed(FAST) as old, Timed(FAST) as new:
        image = f"registry.example/x@sha256:{'a' * 64}"
        code = command("compare", old.url, new.url, "--baseline-image", image, *LIGHT)
    found = check()
    assert code == 0, found.cause
    assert (found.facts["baseline"], found.facts["candidate"]) == (image, new.url)
    assert len(Path("report/pairs.jsonl").read_text().splitlines()) >= 6


@pytest.mark.long
def test_compare_stops_a_slow_server(command: Command) -> None:
    """A candidate that takes ten times as long gets through, or no metric is named."""
    with Timed(FAST) as old, Timed(SLOW) as new:
        argv = own(readme("sglang-ci compare http://localhost:30000 http://localhost"), old, new)
        assert command(*argv, *LIGHT) == 1
    failed = {case.name for case in check().cases if case.outcome is Outcome.FAILED}
    assert failed == {"ttft", "tpot", "e2e"}


def test_a_broken_baseline_blames_nobody(command: Command) -> None:
    """A candidate FAILED because the baseline is gone."""
    gone = f"http://127.0.0.1:{closed_port()}"
    with Timed(FAST) as new:
        assert command("compare", gone, new.url, *LIGHT) == 4
    assert "the baseline is broken" in check().cause


def test_a_baseline_that_does_not_start_blames_nobody(command: Command, tmp_path: Path) -> None:
    """A candidate FAILED because the baseline's settings are wrong."""
    (tmp_path / "old.toml").write_text('[model]\npath = "nowhere"\n')
    with Timed(FAST) as new:
        assert command("compare", "old.toml", new.url, *LIGHT) == 4
    assert "nowhere" in check().cause


@pytest.mark.long
def test_the_self_test_finds_its_own_slow_server(command: Command) -> None:
    """A user's runner is said to be fit, and the gate was never held against a slow server."""
    with Timed(FAST) as server:
        argv = own(readme("sglang-ci compare http://localhost:30000 --self-test"), server)
        code = command(*argv, *LIGHT)
    found = check()
    names = {case.name: case.outcome for case in found.cases}
    assert names["equal servers"] is Outcome.PASSED, found.cases
    assert names["server slowed by 100 %"] is Outcome.PASSED, found.cases
    assert code in {0, 3}


@pytest.mark.parametrize("arguments", [("http://127.0.0.1:1",), ("nowhere.toml", "ftp://x")])
def test_what_cant_be_compared_is_refused(command: Command, arguments: tuple[str, ...]) -> None:
    """A comparison without a candidate, or with something else than a server, is begun."""
    assert command("compare", *arguments) == 2


def test_boots_are_not_asked_of_running_servers(command: Command) -> None:
    """Blocks that were to have a boot of their own silently share one."""
    at = ("--set", "gate.servers=boots")
    assert command("compare", "http://127.0.0.1:1", "http://127.0.0.1:2", *at) == 2
