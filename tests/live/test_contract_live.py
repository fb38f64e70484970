"""Contracts of a real SGLang: equal to itself, and different from one that was changed."""

from __future__ import annotations

import shutil
from pathlib import Path

import anyio
import pytest
from anyio.from_thread import start_blocking_portal

from ci.boards import judge
from ci.boards.model import Board, Query
from ci.boot.process import ServerProcess
from ci.boot.readiness import Readiness
from ci.boot.serving import served
from ci.contract.check import accepting, cases
from ci.contract.compare import compare
from ci.contract.introspect import Interface, introspect
from ci.contract.model import Contract, ContractPart
from ci.contract.record import record
from ci.platform import TINY_MODEL
from ci.report.model import Case
from ci.settings import ModelSettings, ReadinessSettings, Settings
from ci.stages import checked
from ci.verdict import Outcome
from tests.live.conftest import Command
from tests.live.quiet import Quiet
from tests.readme import readme

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def interface(live_server: ServerProcess) -> Interface:
    """What the server's installation says of itself."""
    return anyio.run(introspect, live_server.launch.python)


@pytest.fixture(scope="module")
def first(live_server: ServerProcess, interface: Interface) -> Contract:
    """The server's contract."""
    return anyio.run(record, live_server.url, interface)


def failed(old: Contract, new: Contract) -> list[Case]:
    """Return the breaches of two contracts."""
    found = cases(compare(old, new), accepting())
    return [case for case in found if case.outcome is not Outcome.PASSED]


def test_a_server_keeps_its_own_contract(
    live_server: ServerProcess, interface: Interface, first: Contract
) -> None:
    """Something volatile is recorded, and no server ever keeps its contract."""
    second = anyio.run(record, live_server.url, interface)
    assert {name for name, part in second.parts.items() if not part.items} == set()
    for pair in ((first, second), (second, first)):
        found = [change for part in compare(*pair) for change in part.changes]
        assert found == []


LOST = {
    "flags": "--tensor-parallel-size",
    "routes": "POST /v1/chat/completions request.temperature",
    "answers": "chat: no messages body.message",
    "metrics": "sglang:num_running_reqs",
    "server_info": "version",
    "model_info": "model_path",
    "sampling": "engine temperature",
}


@pytest.mark.parametrize("name", LOST)
def test_a_lost_item_of_each_part_fails(name: str, first: Contract) -> None:
    """A part is recorded and never held against anything."""
    part = first.parts[name]
    less = {item: facets for item, facets in part.items.items() if item != LOST[name]}
    parts = first.parts | {name: ContractPart(items=less, left_out=part.left_out)}
    found = failed(first, first.model_copy(update={"parts": parts}))
    assert [case.outcome for case in found] == [Outcome.FAILED]
    assert found[0].name == f"{name} {LOST[name]}"


ASKED = (
    "histogram_quantile(0.9, sum by (le) (rate(sglang:time_to_first_token_seconds_bucket[5m])))",
    "rate(sglang_e2e_request_latency_seconds_sum[5m])"
    " / rate(sglang_e2e_request_latency_seconds_count[5m])",
    'sum by (model_name) ({"sglang:num_running_reqs"})',
    "sglang:gen_throughput > 0 and on (model_name) sglang:num_queue_reqs > 10",
    'label_replace({__name__=~"sglang[:_]num_.*_reqs"}, "model", "$1", "model_name", "(.*)")',
    "count(sglang:num_aborted_requests_total)",
)
"""What dashboards, alerts and scalers ask of SGLang, in the names of both kinds of scrapers."""


@pytest.mark.parametrize("expr", ASKED)
def test_boards_find_what_a_real_server_exposes(expr: str, first: Contract) -> None:
    """A board that works fails, or one whose metric a real server doesn't have passes."""
    metrics = first.part("metrics")
    board = Board("b", (Query("line 1", expr),))
    (case,) = judge.cases([board], metrics, metrics)
    assert (case.outcome, case.message) == (Outcome.PASSED, "")
    (case,) = judge.cases([board], metrics, ContractPart())
    assert case.outcome is Outcome.FAILED


@pytest.mark.long
def test_a_server_without_metrics_fails(first: Contract, tmp_path: Path) -> None:
    """A server is started with another flag, all dashboards are empty, and it passes."""
    model = tmp_path / "tiny"
    shutil.copytree(TINY_MODEL, model)
    kept = (model / "launch.flags").read_text().replace("--enable-metrics", "")
    (model / "launch.flags").write_text(kept)
    settings = Settings(model=ModelSettings(path=model))
    with start_blocking_portal() as portal:
        serving = served(settings, None)
        with portal.wrap_async_context_manager(serving) as server:
            ready = Readiness(server.url, ReadinessSettings(), Quiet(), server, server.log)
            assert portal.call(checked, "readiness", ready.wait).cause == ""
            found = failed(first, portal.call(record, server.url))
    told = {case.name: case.outcome for case in found}
    assert told["metrics all"] is Outcome.FAILED
    assert told["flags"] is Outcome.INCONCLUSIVE


def test_the_readmes_comparison(command: Command, live_server: ServerProcess) -> None:
    """Two servers of one image differ, or the command that the README shows isn't one."""
    words = readme("sglang-ci contract compare")[1:]
    run = command(*(live_server.url if "://" in word else word for word in words))
    assert run.wait() == 0, run.output()
