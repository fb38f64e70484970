"""What a Prometheus answers to the queries of boards, against one that pretends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ci.report.model import Case
from ci.verdict import Outcome, Verdict
from tests.fakes.observed import AT_REST, FakePrometheus, Observed, observed, prometheus
from tests.unit.observe_samples import board_of, checked_at, dashboard, hurry, named

pytestmark = pytest.mark.unit


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)


def asked(folder: Path, at: FakePrometheus, *lines: str, **told: Any) -> dict[str, Case]:
    """Return what a Prometheus is found to have, case by case."""
    with observed() as url, prometheus(at) as api:
        at.server = at.server or url
        check = checked_at(url, board_of(folder, *lines), api=api, scraper="auto", **told)
    return named(check)


def test_a_query_without_data_fails(tmp_path: Path) -> None:
    """A board whose names are right, and that is empty all the same, passes."""
    at = FakePrometheus(version="3.1.0", empty=("queue",))
    cases = asked(tmp_path, at, "sglang:num_running_reqs", "sum(sglang:queue)", "up")
    assert cases["scrape"].outcome is Outcome.PASSED
    assert cases["b.promql: line 1, asked"].outcome is Outcome.PASSED
    assert cases["b.promql: line 2, asked"].outcome is Outcome.FAILED
    assert cases["b.promql: line 2, asked"].message == "no data, in sum(sglang:queue)"
    assert cases["b.promql: line 3, asked"].outcome is Outcome.PASSED


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("sglang:queue > 9", "nothing is > its threshold"),
        ("absent(sglang:queue)", "nothing is absent"),
        ("sglang:queue unless sglang:queue offset 5m", "nothing is left by unless"),
        ("sglang:queue offset 1h", "further back"),
        ('sglang:queue{model_name="other"}', "no model_name that is 'other' so far, but m"),
        ('sglang:queue{model_name!~"m|n"}', "so far, but m"),
        ("rate(sglang:spec_verify_calls_total[5m])", "speculative decoding"),
    ],
)
def test_no_data_is_no_fault_where_there_may_be_none(tmp_path: Path, text: str, why: str) -> None:
    """A panel of errors fails on a server without errors."""
    cases = asked(tmp_path, FakePrometheus(version="3.1.0", empty=("sglang",)), text)
    case = cases["b.promql: line 1, asked"]
    assert case.outcome is Outcome.SKIPPED
    assert why in case.message


def test_what_a_prometheus_says_decides_what_names_are(tmp_path: Path) -> None:
    """A board for Prometheus 3 passes where a Prometheus 2 is asked."""
    lines = ("sglang:queue", "sglang_queue")
    cases = asked(tmp_path, FakePrometheus(version="2.42.0"), *lines)
    assert cases["b.promql: line 1"].outcome is Outcome.FAILED
    assert "b.promql: line 1, asked" not in cases
    assert cases["b.promql: line 2, asked"].outcome is Outcome.PASSED


def test_a_victoriametrics_is_no_prometheus_2(tmp_path: Path) -> None:
    """A board for `sglang:` fails, as a VictoriaMetrics says that it is a Prometheus 2.24.0."""
    cases = asked(tmp_path, FakePrometheus(version="2.24.0"), "sglang:queue", "sglang_queue")
    assert cases["b.promql: line 1, asked"].outcome is Outcome.PASSED
    assert cases["b.promql: line 2"].outcome is Outcome.FAILED
    assert "VictoriaMetrics' agent stores sglang_queue as" in cases["b.promql: line 2"].message


def test_what_is_nan_may_not_be_stored(tmp_path: Path) -> None:
    """A panel on what wasn't measured yet fails where NaN isn't stored."""
    server = Observed(rest=f"{AT_REST}sglang:occupancy NaN\n")
    at = FakePrometheus(version="2.24.0", empty=("occupancy",))
    with observed(server) as url, prometheus(at) as api:
        at.server = url
        check = checked_at(url, board_of(tmp_path, "sglang:occupancy"), api=api, scraper="auto")
    case = named(check)["b.promql: line 1, asked"]
    assert (case.outcome, "is NaN on the page" in case.message) == (Outcome.SKIPPED, True)


@pytest.mark.parametrize(
    ("at", "name", "outcome", "told"),
    [
        (FakePrometheus(version="3", health="down", error="cut"), "scrape", "FAILED", "cut"),
        (FakePrometheus(version="3", server="http://x:1"), "scrape", "SKIPPED", "no target"),
        (FakePrometheus(version="3", dies_after=1), "a real Prometheus", "ERROR", "can't be asked"),
        (FakePrometheus(version="3", nan=("q",)), "b.promql: line 2, asked", "SKIPPED", "only NaN"),
        (FakePrometheus(version="3", refused=("q",)), "b.promql: line 2, asked", "FAILED", "bad"),
    ],
    ids=["down", "unknown", "dies", "nan", "refused"],
)
def test_what_goes_wrong_with_a_prometheus_is_told(
    tmp_path: Path, at: FakePrometheus, name: str, outcome: str, told: str
) -> None:
    """A Prometheus that can't scrape, or dies, reads as boards that are full, or ends the check."""
    case = asked(tmp_path, at, "sglang:num_running_reqs", "sglang:queue")[name]
    assert case.outcome == outcome
    assert told in case.message


def test_clocks_that_differ_are_told(tmp_path: Path) -> None:
    """Nobody learns why what is asked for now isn't there yet."""
    at = FakePrometheus(version="3", date="Sun, 01 Jan 2023 00:00:00 GMT")
    with observed() as url, prometheus(at) as api:
        at.server = url
        check = checked_at(url, board_of(tmp_path, "sglang:queue"), api=api)
    assert "behind this machine's" in check.facts["clock of Prometheus"]


def test_variables_stand_for_all_they_may_be(tmp_path: Path) -> None:
    """A board is called empty because its author's model isn't served here."""
    variables = (
        {
            "name": "model",
            "type": "query",
            "query": "label_values(sglang:queue, model_name)",
            "current": {"value": "theirs"},
        },
    )
    board = dashboard(tmp_path, 'sglang:queue{model_name=~"$model"}', variables=variables)
    at = FakePrometheus(version="3.1.0")
    with observed() as url, prometheus(at) as api:
        at.server = url
        check = checked_at(url, board, api=api)
    assert check.verdict is Verdict.PASSED, check.cause
    assert at.queries == ['sglang:queue{model_name=~".*"}', "sglang:queue"]
