"""Whether boards find on a server what they ask for, against one that pretends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest

from ci.errors import BadAnswer, KeyRefused, ServerFault
from ci.observe.catalogue import read
from ci.observe.scrapers import SCRAPERS
from ci.report.model import Case
from ci.server.exchange import exchanging
from ci.verdict import Outcome
from tests.fakes.observed import AT_REST, Observed, observed
from tests.unit.commands import Command
from tests.unit.observe_samples import board_of, checked_at, dashboard, hurry, named

pytestmark = pytest.mark.unit

CURE = {"sglang_(.+)": "sglang:$1"}
RULES = """\
groups:
  - name: a
    rules:
      - {record: "job:queue:sum", expr: "sum by (model_name) (sglang:queue)", labels: {team: x}}
      - {record: "job:lost:sum", expr: "sum(sglang:lost)"}
      - {alert: Long, expr: "sglang:queue > 9"}
      - {alert: Broken, expr: "sum(((sglang:queue)"}
"""


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)


def only(folder: Path, text: str, server: Observed | None = None, **told: Any) -> Case:
    """Return the case of one query."""
    with observed(server) as url:
        return named(checked_at(url, board_of(folder, text), **told))["b.promql: line 1"]


def test_what_is_there_passes(tmp_path: Path) -> None:
    """A good board is kept from production."""
    for text in (
        "sglang:num_running_reqs",
        "histogram_quantile(0.9, sum by (le) (rate(sglang:ttft_seconds_bucket[5m])))",
        'sum by (instance, model_name) (sglang:queue{namespace="prod"})',
        "sglang:gone or sglang:queue",
        '{__name__=~"sglang[:_]queue"}',
        "rate(sglang:num_aborted_requests_total[5m])",
    ):
        case = only(tmp_path, text)
        assert case.outcome is Outcome.PASSED, (text, case.message)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("sglang:queue_legnth", "sglang:queue_legnth doesn't exist on this server"),
        ("sglang:queues", "perhaps sglang:queue"),
        ('{__name__=~"sglang:lost_.+"}', "doesn't exist on this server"),
        ('sglang:queue{name="m"}', "sglang:queue is without the label name"),
        ("sum by (dp_rank) (sglang:queue)", "sglang:queue is without the label dp_rank"),
        (
            "sglang:queue / sglang:num_running_reqs",
            "don't match: only one of them has the label tp_rank",
        ),
        ("sum(rate(sglang:queue[5m])", "PromQL's parser refuses it"),
    ],
)
def test_what_is_missing_fails(tmp_path: Path, text: str, told: str) -> None:
    """A panel that can never have data passes, or doesn't say why."""
    case = only(tmp_path, text)
    assert case.outcome is Outcome.FAILED
    assert told in case.message
    assert text in case.message


@pytest.mark.parametrize(
    ("scraper", "text", "stored"),
    [
        ("prometheus-2", "sglang:queue", "Prometheus 2 stores sglang:queue as sglang_queue"),
        ("prometheus-3", "sglang_queue", "Prometheus 3 stores sglang_queue as sglang:queue"),
        ("opentelemetry", "sglang_queue", "stores sglang_queue as sglang:queue"),
        ("victoriametrics", "sglang_queue", "stores sglang_queue as sglang:queue"),
    ],
)
def test_a_name_that_is_stored_otherwise_fails_with_its_cure(
    tmp_path: Path, scraper: str, text: str, stored: str
) -> None:
    """Every panel is empty, and a page that is read as curl reads it says that all is well."""
    case = only(tmp_path, text, scraper=scraper)
    assert case.outcome is Outcome.FAILED
    assert stored in case.message
    there, asked = ("sglang_", "sglang:") if ":" in text else ("sglang:", "sglang_")
    assert f"regex: {there}(.+)" in case.details
    assert f"replacement: {asked}$1" in case.details


def test_the_cure_cures(tmp_path: Path) -> None:
    """What the check tells to do doesn't help, or it doesn't believe that it was done."""
    board = "sum(rate(sglang:ttft_seconds_sum[1m]))"
    assert only(tmp_path, board, scraper="prometheus-2", rename=CURE).outcome is Outcome.PASSED


def test_bounds_are_those_that_are_stored(tmp_path: Path) -> None:
    """A panel on one bucket is empty where a collector scrapes, and nobody is told."""
    page = "".join(f'sglang:x_bucket{{le="{le}"}} 1\n' for le in ("0.25", "1.0", "1e+06", "+Inf"))
    with observed(Observed(rest=f"# TYPE sglang:x histogram\n{page}")) as url:

        async def bounds(scraper: str) -> list[str]:
            async with exchanging(url, seconds=9) as exchange:
                found = await read(exchange, SCRAPERS[scraper])
            return [labels["le"] for labels in found.metrics["sglang:x_bucket"].series]

        assert anyio.run(bounds, "opentelemetry") == ["0.25", "1", "1000000", "+Inf"]
        assert anyio.run(bounds, "prometheus-3") == ["0.25", "1.0", "1e+06", "+Inf"]


def test_what_begins_with_an_event_that_nobody_made_is_said(tmp_path: Path) -> None:
    """A panel on speculative decoding fails on a server without it."""
    case = only(tmp_path, "rate(sglang:spec_verify_calls_total[5m])")
    assert case.outcome is Outcome.SKIPPED
    assert "begins with speculative decoding" in case.message
    case = only(tmp_path, "sglang_ci_server_answers == 1")
    assert case.outcome is Outcome.SKIPPED
    assert "begins with `sglang-ci observe exporter`" in case.message


def test_what_an_event_brought_about_is_told(tmp_path: Path) -> None:
    """Nobody learns that a counter isn't there before its first event."""
    server = Observed()
    with observed(server) as url:
        check = checked_at(url, board_of(tmp_path, "sglang:queue"))
    assert (
        "an aborted stream: sglang:num_aborted_requests_total"
        in check.facts["begins with an event"]
    )
    grows = check.facts["grows without end"]
    assert "endpoint of sglang:http_requests_total (any path that somebody asks for)" in grows
    assert "pid of sglang:workers (another one after each start)" in grows
    assert {figure.name for figure in check.figures} == {"series", "page", "scrape"}
    assert all("escaping=allow-utf-8" in one for one in server.accepts)


def test_rules_come_first_and_in_their_order(tmp_path: Path) -> None:
    """A board on what a rule records is called empty, or one on a rule without data full."""
    rules = board_of(tmp_path, RULES, name="rules.yml")
    board = board_of(
        tmp_path,
        'job:queue:sum{team="x"}',
        "job:lost:sum",
        "sum by (tp_rank) (job:queue:sum)",
    )
    with observed() as url:
        cases = named(checked_at(url, board, rules=(rules,)))
    assert cases["rules.yml: rule job:queue:sum"].outcome is Outcome.PASSED
    assert cases["rules.yml: rule job:lost:sum"].outcome is Outcome.FAILED
    assert cases["rules.yml: alert Long"].outcome is Outcome.PASSED
    assert cases["rules.yml: alert Broken"].outcome is Outcome.FAILED
    assert cases["b.promql: line 1"].outcome is Outcome.PASSED
    assert cases["b.promql: line 2"].outcome is Outcome.FAILED
    assert "no rule records job:lost:sum: sglang:lost" in cases["b.promql: line 2"].message
    assert cases["b.promql: line 3"].outcome is Outcome.FAILED


def test_a_board_of_another_engine_is_one_line(tmp_path: Path) -> None:
    """A board for vLLM floods the report, or passes because nothing of SGLang's is in it."""
    board = dashboard(tmp_path, *(f"rate(vllm:thing_{at}_total[1m])" for at in range(30)), "up")
    with observed() as url:
        check = checked_at(url, board)
    failed = [case for case in check.cases if case.outcome is Outcome.FAILED]
    assert [case.name for case in failed] == ["grafana.json: whole board"]
    assert failed[0].message.startswith("a board for vLLM, not for this server: all 30 places")
    assert failed[0].details.count("\n") == 29


def test_what_others_expose_is_left_to_them(tmp_path: Path) -> None:
    """A panel on the GPU's own exporter fails because SGLang doesn't have it."""
    board = dashboard(tmp_path, "DCGM_FI_DEV_GPU_UTIL", "sglang:queue", "up == 0")
    with observed() as url:
        cases = named(checked_at(url, board))
    assert cases["grafana.json"].outcome is Outcome.SKIPPED
    assert "panel P0, panel P2" in cases["grafana.json"].message


def test_a_variable_that_nobody_defines_fails(tmp_path: Path) -> None:
    """Grafana sends the variable's name as it is, and the panel is empty."""
    board = dashboard(
        tmp_path,
        'sglang:queue{model_name="$modell"}',
        "rate(sglang:queue[$__interval])",
        'label_replace(sglang:queue, "m", "${1}", "model_name", "(.+)")',
    )
    with observed() as url:
        cases = named(checked_at(url, board))
    assert "$modell is a variable" in cases["grafana.json: panel P0"].message
    assert cases["grafana.json: panel P1"].outcome is Outcome.PASSED
    assert cases["grafana.json: panel P2"].outcome is Outcome.PASSED


def test_files_that_are_none_fail_and_the_others_are_judged(tmp_path: Path) -> None:
    """One broken file hides all others, or ends the check."""
    broken = board_of(tmp_path, "groups: [", name="rules.yml")
    with observed() as url:
        check = checked_at(
            url, board_of(tmp_path, "sglang:queue"), tmp_path / "none", rules=(broken,)
        )
    cases = named(check)
    assert cases["rules.yml"].outcome is cases["none"].outcome is Outcome.FAILED
    assert cases["b.promql: line 1"].outcome is Outcome.PASSED


def test_files_of_one_name_are_told_apart(tmp_path: Path) -> None:
    """Of two panels that have one name in the report, nobody knows which is empty."""
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
    files = [board_of(folder, "sglang:queue") for folder in folders]
    with observed() as url:
        cases = named(checked_at(url, *files))
    assert {f"{file}: line 1" for file in files} <= set(cases)


@pytest.mark.parametrize(
    ("server", "error", "told"),
    [
        (Observed(status=404), BadAnswer, "--enable-metrics"),
        (Observed(status=500), BadAnswer, "HTTP 500"),
        (Observed(rest="# nothing\n"), BadAnswer, "no metrics stand on the page"),
        (Observed(key="k"), KeyRefused, "SGLANG_API_KEY"),
        (Observed(size=17 * 2**20), ServerFault, "over 16777216 bytes"),
        (Observed(cut=True), ServerFault, "cut"),
        (Observed(answers=False), ServerFault, "/generate"),
    ],
    ids=["off", "broken", "empty", "key", "endless", "cut", "gone"],
)
def test_a_page_that_cannot_be_read_ends_well(
    tmp_path: Path, server: Observed, error: type[Exception], told: str
) -> None:
    """Metrics that are off, guarded, endless or cut are no line that a person can act on."""
    with observed(server) as url, pytest.raises(error, match=told):
        checked_at(url, board_of(tmp_path, "sglang:queue"))


def test_a_server_that_answers_nothing_is_unsure(tmp_path: Path) -> None:
    """What begins with an answer is called missing on a server that gives none."""
    server = Observed(generates=503)
    with observed(server) as url:
        case = named(checked_at(url, board_of(tmp_path, "sglang:queue")))["known traffic"]
    assert case.outcome is Outcome.INCONCLUSIVE
    assert "HTTP 503 to an answered request and HTTP 503 to a chat" in case.message
    assert "m" in server.models


def test_names_that_clash_are_told(tmp_path: Path) -> None:
    """Prometheus 2 takes two metrics for one, and refuses the page."""
    clash = AT_REST + '# TYPE sglang_queue gauge\nsglang_queue{model_name="m"} 3\n'
    with observed(Observed(rest=clash)) as url:
        board = board_of(tmp_path, "sglang_queue")
        apart = named(checked_at(url, board))["page"]
        merged = named(checked_at(url, board, scraper="prometheus-2"))["page"]
    assert apart.outcome is Outcome.PASSED
    assert merged.outcome is Outcome.FAILED
    assert "sglang_queue" in merged.message


def test_without_a_prometheus_that_part_is_skipped(tmp_path: Path) -> None:
    """Nobody is told that no query was really asked."""
    with observed() as url:
        board = board_of(tmp_path, "sglang:queue")
        for name, told in (("", "is empty"), ("no-such-prometheus", "no program no-such")):
            case = named(checked_at(url, board, prometheus=name))["a real Prometheus"]
            assert case.outcome is Outcome.SKIPPED
            assert told in case.message


def test_nothing_to_judge_is_no_pass() -> None:
    """A run without a board PASSES."""
    with observed() as url:
        cases = named(checked_at(url))
    assert cases["boards"].outcome is Outcome.SKIPPED
    assert cases["page"].outcome is Outcome.PASSED


def test_the_command_leaves_a_report(command: Command, tmp_path: Path) -> None:
    """The check can't be asked for, or its files can't be named."""
    bad = board_of(tmp_path, "sglang:lost", name="bad.promql")
    good = board_of(tmp_path, "sglang:queue")
    with observed() as url:
        none = ("--set", "observe.prometheus=")
        assert command("observe", "check", url, "--board", str(good), *none) == 0
        assert command("observe", "check", url, "--rules", str(bad), *none) == 1
