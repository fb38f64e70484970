"""Boards held against a real SGLang, and its queries asked of a real Prometheus."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path

import psutil
import pytest

from ci.boot.process import ServerProcess
from ci.observe import program
from ci.observe.scrapers import of_version
from ci.report.model import Case, Report
from ci.verdict import Outcome, Verdict
from tests.live.conftest import Command
from tests.readme import readme, run
from tests.reports import check_of

pytestmark = pytest.mark.live

CURE = 'observe.rename={"sglang_(.+)" = "sglang:$1"}'
PATIENT = ("--set", "observe.timeout=120")
"""A machine that does other work is slow to answer, and that is no matter here."""
PANELS = {
    "TTFT": "histogram_quantile(0.9, sum by (le)"
    " (rate(sglang:time_to_first_token_seconds_bucket[$__rate_interval])))",
    "Between tokens": "rate(sglang:inter_token_latency_seconds_sum[1m])",
    "Running": 'sglang:num_running_reqs{model_name=~"$model"}',
    "Aborted": "sglang:num_aborted_requests_total",
    "Cached": "sum(sglang:cached_tokens_total)",
    "Refused": 'sum(sglang:http_responses_total{status_code="400"})',
    "Teapots": 'sum(rate(sglang:http_responses_total{status_code="418"}[1m]))',
    "Recorded": "model:running:sum",
}
RULES = """\
groups:
  - name: live
    rules:
      - {record: "model:running:sum", expr: "sum by (model_name) (sglang:num_running_reqs)"}
      - {alert: Queue, expr: "sglang:num_queue_reqs > 100"}
"""

needs_prometheus = pytest.mark.skipif(
    not shutil.which("prometheus"), reason="Prometheus isn't installed here"
)


def board(folder: Path, panels: dict[str, str]) -> Path:
    """Return a dashboard of these panels, and a variable."""
    variable = {"name": "model", "type": "query", "query": "label_values(model_name)"}
    document = {
        "panels": [{"title": title, "targets": [{"expr": text}]} for title, text in panels.items()],
        "templating": {"list": [variable]},
    }
    path = folder / "grafana.json"
    path.write_text(json.dumps(document))
    return path


def rules(folder: Path) -> Path:
    """Return a file of rules."""
    path = folder / "rules.yml"
    path.write_text(RULES)
    return path


def cases(report: Report) -> dict[str, Case]:
    """Return the cases by name."""
    return {case.name: case for case in check_of(report, "observe").cases}


def left() -> list[str]:
    """Return the command lines of processes that belong to a Prometheus of ours."""
    lines = (" ".join(one.info["cmdline"] or ()) for one in psutil.process_iter(["cmdline"]))
    return [line for line in lines if "sglang-ci-prometheus-" in line]


@needs_prometheus
def test_every_panel_has_data_in_a_real_prometheus(
    live_server: ServerProcess, command: Command, tmp_path: Path
) -> None:
    """A board whose names are right is called empty, or a real Prometheus isn't asked."""
    old = of_version(program.version_of(program.found("prometheus"))) == "prometheus-2"
    files = ("--board", str(board(tmp_path, PANELS)), "--rules", str(rules(tmp_path)))
    cure = ("--set", CURE) if old else ()
    ran = command("observe", "check", live_server.url, *files, *PATIENT, *cure)
    assert ran.wait() == 0, ran.output()
    found = cases(ran.report())
    for title in set(PANELS) - {"Teapots"}:
        assert found[f"grafana.json: panel {title}"].outcome is Outcome.PASSED
        assert found[f"grafana.json: panel {title}, asked"].outcome is Outcome.PASSED
    teapots = found["grafana.json: panel Teapots, asked"]
    assert (teapots.outcome, "no status_code" in teapots.message) == (Outcome.SKIPPED, True)
    assert found["rules.yml: alert Queue, asked"].outcome is Outcome.PASSED
    assert found["scrape"].outcome is Outcome.PASSED
    assert not left()


def test_names_are_judged_as_a_prometheus_2_stores_them(
    live_server: ServerProcess, command: Command, tmp_path: Path
) -> None:
    """Every panel is empty with Debian's Prometheus, and the check passes."""
    bad = board(tmp_path, {"Right": "sglang_num_queue_reqs", "Wrong": "sglang:num_queue_reqs"})
    old = ("--set", "observe.scraper=prometheus-2", "--set", "observe.prometheus=")
    ran = command("observe", "check", live_server.url, "--board", str(bad), *PATIENT, *old)
    assert ran.wait() == 1, ran.output()
    found = cases(ran.report())
    assert found["grafana.json: panel Right"].outcome is Outcome.PASSED
    assert found["grafana.json: panel Wrong"].outcome is Outcome.FAILED
    assert "Prometheus 2 stores sglang:num_queue_reqs as sglang_num_queue_reqs" in (
        found["grafana.json: panel Wrong"].message
    )
    facts = check_of(ran.report(), "observe").facts
    assert "http_requests_total (any path that somebody asks for)" in facts["grows without end"]


@needs_prometheus
def test_an_interrupt_leaves_no_prometheus(
    live_server: ServerProcess, command: Command, tmp_path: Path
) -> None:
    """Ctrl-C leaves a Prometheus that scrapes on."""
    one = board(
        tmp_path, {"Never": "sum(sglang:num_queue_reqs offset 1s) or sglang_num_queue_reqs"}
    )
    ran = command("observe", "check", live_server.url, "--board", str(one), *PATIENT)
    ran.until("PASSED scrape")
    assert left()
    ran.signal(signal.SIGINT)
    assert ran.wait() == 130
    assert ran.report().verdict is Verdict.ERROR
    assert not left()


def test_the_readmes_command(live_server: ServerProcess, tmp_path: Path) -> None:
    """A reader's own board isn't judged by the command that the README shows."""
    pattern = '{__name__=~"sglang[:_]num_running_reqs"}'
    board(tmp_path, {"Running": pattern})
    argv = readme("sglang-ci observe check", {"http://localhost:30000": live_server.url})
    ran = run(tmp_path, [*argv, *PATIENT])
    assert ran.returncode == 0, ran.stdout + ran.stderr
