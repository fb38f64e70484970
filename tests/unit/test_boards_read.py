"""Boards are read whole: Grafana's two schemas, variables, rules, scalers and plain lines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ci.boards.model import Query
from ci.boards.read import read
from ci.errors import UsageError
from ci.report.model import Case
from ci.verdict import Outcome
from tests.unit.board_samples import judged, of_files, saved

pytestmark = pytest.mark.unit

RENAMED = "sglang:num_running is gone; perhaps renamed to sglang:num_running_reqs"
NO_RANK = "sglang:usage is without the label rank"
LOGS = {"panels": [{"datasource": {"type": "loki"}, "targets": [{"expr": "{a=1} |= b"}]}]}
PROMETHEUS = {"type": "prometheus", "uid": "p"}


def target(expr: str, **more: Any) -> dict[str, Any]:
    """Return one query of a panel of the classic schema."""
    return {"refId": "A", "expr": expr, **more}


def variable(name: str, kind: str = "query", **more: Any) -> dict[str, Any]:
    """Return a variable of the classic schema."""
    return {"name": name, "type": kind, **more}


CLASSIC = {
    "title": "Board",
    "annotations": {"list": [{"name": "restarts", "expr": "sglang:started"}]},
    "templating": {
        "list": [
            variable("model", query={"query": "label_values(sglang:usage, model)", "refId": "v"}),
            variable("rank", query="label_values(rank)", definition="label_values(rank)"),
            variable("how", "custom", query="a, b"),
        ]
    },
    "panels": [
        {"title": "Load", "targets": [target("sglang:load"), target("sglang:usage", hide=True)]},
        {"type": "row", "title": "Row", "panels": [{"title": "In", "targets": [target("deep")]}]},
        {"id": 7, "targets": [target("untitled")]},
    ],
    "rows": [{"title": "Old", "panels": [{"title": "Older", "targets": [target("oldest")]}]}],
}


def test_classic_schema(tmp_path: Path) -> None:
    """A panel deep in a dashboard is overlooked, or nobody can tell which one is meant."""
    board = read(saved(tmp_path, "b.json", CLASSIC))
    assert [(query.where, query.text) for query in board.queries] == [
        ("annotation restarts", "sglang:started"),
        ("variable model", "label_values(sglang:usage, model)"),
        ("variable rank", "label_values(rank)"),
        ("panel Load", "sglang:load"),
        ("panel Load", "sglang:usage"),
        ("panel In", "deep"),
        ("panel 7", "untitled"),
        ("panel Older", "oldest"),
    ]
    assert board.variables == {"how": ("a", "b")}


def element(title: str, query: dict[str, Any]) -> dict[str, Any]:
    """Return a panel of the second schema."""
    asked = {"kind": "PanelQuery", "spec": {"refId": "A", "hidden": False, "query": query}}
    data = {"kind": "QueryGroup", "spec": {"queries": [asked]}}
    return {"kind": "Panel", "spec": {"id": 1, "title": title, "data": data}}


def data(group: str, expr: str) -> dict[str, Any]:
    """Return a query of the second schema."""
    return {"kind": "DataQuery", "group": group, "version": "v0", "spec": {"expr": expr}}


def second(kind: str, **spec: Any) -> dict[str, Any]:
    """Return a variable of the second schema."""
    return {"kind": f"{kind}Variable", "spec": spec}


SECOND = {
    "apiVersion": "dashboard.grafana.app/v2beta1",
    "kind": "Dashboard",
    "metadata": {"name": "x"},
    "spec": {
        "elements": {
            "panel-1": element("Load", data("prometheus", "sglang:load")),
            "panel-2": element("Older", {"kind": "prometheus", "spec": {"expr": "sglang:usage"}}),
            "panel-3": element("Logs", data("loki", '{a="b"} |= "c"')),
        },
        "variables": [
            second("Query", name="m", query={"kind": "DataQuery", "group": "prometheus",
                   "spec": {"query": "label_values(model)", "refId": "v"}}),
            second("Custom", name="by", query="model,rank", options=[]),
            second("Datasource", name="source", pluginId="prometheus"),
        ],
    },
}  # fmt: skip


def test_second_schema(tmp_path: Path) -> None:
    """A dashboard of a newer Grafana holds no query."""
    board = read(saved(tmp_path, "b.json", SECOND))
    assert [(query.where, query.text, query.variable) for query in board.queries] == [
        ("panel Load", "sglang:load", False),
        ("panel Older", "sglang:usage", False),
        ("variable m", "label_values(model)", True),
    ]
    assert board.variables == {"by": ("model", "rank")}
    assert board.elsewhere == ("panel Logs",)


@pytest.mark.parametrize(
    ("source", "elsewhere"),
    [
        ({"type": "loki", "uid": "l"}, True),
        ("${DS_LOGS}", True),
        ({"uid": "$logs"}, True),
        (PROMETHEUS, False),
        ({"type": "victoriametrics-metrics-datasource"}, False),
        ("${DS_UNKNOWN}", False),
        ("a name", False),
        (None, False),
    ],
)
def test_other_databases_are_not_asked(tmp_path: Path, source: Any, *, elsewhere: bool) -> None:
    """A query of another language is called broken PromQL, or one of PromQL is left out."""
    logs = {"title": "Logs", "datasource": source, "targets": [target("asked")]}
    board = {
        "__inputs": [{"name": "DS_LOGS", "type": "datasource", "pluginId": "loki"}],
        "templating": {"list": [variable("logs", "datasource", query="loki", current={})]},
        "panels": [
            {"title": "Load", "targets": [target("sglang:load", datasource=PROMETHEUS)]},
            logs,
        ],
    }
    found = read(saved(tmp_path, "b.json", board))
    assert found.elsewhere == (("panel Logs",) if elsewhere else ())
    assert ("asked" in {query.text for query in found.queries}) is not elsewhere


def test_panels_of_the_library_are_told(tmp_path: Path) -> None:
    """A panel whose query isn't in the file counts as proven."""
    linked = {"title": "Shared", "libraryPanel": {"uid": "u", "name": "Shared"}}
    board = {"panels": [linked, {"title": "Load", "targets": [target("sglang:load")]}]}
    passed, skipped = of_files(saved(tmp_path, "b.json", board))
    assert (passed.name, passed.outcome) == ("b.json: panel Load", Outcome.PASSED)
    assert skipped.outcome is Outcome.SKIPPED
    assert "panel Shared" in skipped.message


def panel_with(expr: str, *variables: dict[str, Any]) -> dict[str, Any]:
    """Return a dashboard of one panel and some variables."""
    panel = {"title": "P", "datasource": PROMETHEUS, "targets": [target(expr)]}
    return {"templating": {"list": list(variables)}, "panels": [panel]}


CHOSEN = variable("metric", "custom", query="load,num_running")
SAVED = variable("metric", query="metrics(x)", current={"value": ["num_running"]})
ANY = variable("metric", query="metrics(x)", current={"value": "$__all"})


@pytest.mark.parametrize(
    ("expr", "variables", "told"),
    [
        ("rate(sglang:num_running[$__rate_interval])", (), RENAMED),
        ("rate(sglang:num_running[${__range_s}s])", (), RENAMED),
        ("rate(sglang:num_running[[[step]]])", (), RENAMED),
        ("sum_over_time(sglang:num_running[1h:$__interval])", (), RENAMED),
        ("topk($n, sglang:num_running) * $__interval_ms", (), RENAMED),
        ("$how by (model) (sglang:num_running)", (), RENAMED),
        ("sglang:num_running offset $__range", (), RENAMED),
        ('sglang:num_running{model=~"${model:regex}"} > $least', (), RENAMED),
        ("sum(sglang:$metric)", (CHOSEN,), RENAMED),
        ("sum(sglang:${metric})", (SAVED,), RENAMED),
        ('{__name__="sglang:[[metric]]"}', (CHOSEN,), RENAMED),
        ('{__name__=~"sglang[:_]$metric"}', (SAVED,), RENAMED),
        ('{${metric:doublequote}}', (variable("metric", "custom", query="sglang:num_running"),),
         RENAMED),
        ("sum by ($by) (sglang:usage)", (variable("by", "custom", query="M : model, R : rank"),),
         NO_RANK),
        ("sum by ($by) (sglang:usage)", (variable("by", "custom", options=[{"value": "rank"}]),),
         NO_RANK),
    ],
)  # fmt: skip
def test_variables_are_filled_in(
    tmp_path: Path, expr: str, variables: tuple[dict[str, Any], ...], told: str
) -> None:
    """What a variable stands for hides a metric or a label that is gone."""
    case = of_files(saved(tmp_path, "b.json", panel_with(expr, *variables)))[0]
    assert case.outcome is Outcome.FAILED
    assert told in case.message
    assert case.message.endswith(f", in {expr}")


@pytest.mark.parametrize(
    "expr",
    [
        '{__name__=~"sglang:$metric"}',
        'label_replace(sglang:load, "x", "$1", "model", "(.*)$")',
        "sglang:load > $metric",
        "sglang:$metric",
    ],
)
def test_values_that_only_grafana_knows(tmp_path: Path, expr: str) -> None:
    """A variable without a value in the file breaks a panel that works, or names any metric."""
    case = of_files(saved(tmp_path, "b.json", panel_with(expr, ANY)))[0]
    chosen = expr == "sglang:$metric"
    assert case.outcome is (Outcome.INCONCLUSIVE if chosen else Outcome.PASSED)


@pytest.mark.parametrize(
    ("text", "outcome", "told"),
    [
        ("label_values(sglang:usage, rank)", Outcome.FAILED, NO_RANK),
        ('label_values(sglang:usage{model="a,b"}, rank)', Outcome.FAILED, "without the label rank"),
        ('label_values({__name__=~"sglang:num_running"}, model)', Outcome.FAILED, RENAMED),
        ("label_values(cause)", Outcome.FAILED, "no metric has the label cause any more"),
        ('label_values("cause")', Outcome.FAILED, "no metric has the label cause any more"),
        ("label_values(rank)", Outcome.PASSED, ""),
        ("label_values(sglang:load, rank)", Outcome.PASSED, ""),
        ("label_values(sglang:load, __name__)", Outcome.PASSED, ""),
        ("label_values(instance)", Outcome.SKIPPED, ""),
        ("label_names()", Outcome.SKIPPED, ""),
        ("label_names(sglang:num_running)", Outcome.FAILED, RENAMED),
        ("metrics(num_running$)", Outcome.FAILED, RENAMED),
        ("metrics(sglang:)", Outcome.PASSED, "matches fewer"),
        ("query_result(topk(5, sglang:num_running))", Outcome.FAILED, RENAMED),
        ("query_result(sglang:load)", Outcome.PASSED, ""),
        ("sglang:num_running", Outcome.FAILED, RENAMED),
        ("label_values(sglang:load, )", Outcome.INCONCLUSIVE, "names no label"),
        ("label_values(sum(, rank)", Outcome.INCONCLUSIVE, "unclosed left parenthesis"),
    ],
)  # fmt: skip
def test_grafanas_own_functions(text: str, outcome: Outcome, told: str) -> None:
    """The list in a dashboard's head is empty after the upgrade."""
    (case,) = judged(Query("variable x", text, variable=True))
    assert case.outcome is outcome
    assert told in case.message


def test_labels_read_by_a_variables_pattern(tmp_path: Path) -> None:
    """A list that is cut out of a query's result is empty after the upgrade."""
    cut = variable("r", query="query_result(sglang:usage)", regex='/rank="([^"]+)"/')
    case = of_files(saved(tmp_path, "b.json", panel_with("sglang:load", cut)))[0]
    assert case.outcome is Outcome.FAILED
    assert "sglang:usage is without the label rank" in case.message


RULES = """
groups:
  - name: one
    rules:
      - {record: "job:running:sum", expr: "sum by (model) (sglang:num_running)"}
      - {record: "job:running:share", expr: "job:running:sum / scalar(sum(job:running:sum))"}
  - name: two
    rules:
      - record: rank:usage:max
        expr: max by (rank, model) (sglang:usage)
        labels: {tier: gold}
      - {record: "later:load", expr: "sum(earlier:load)"}
      - {record: "earlier:load", expr: "sum(sglang:load)"}
      - alert: Stuck
        expr: absent(job:running:sum) and on (model) rank:usage:max{tier="gold"} > 1
"""


def outcomes(cases: list[Case]) -> dict[str, tuple[Outcome, str]]:
    """Return the cases by name."""
    return {case.name.partition(": ")[2]: (case.outcome, case.message) for case in cases}


def test_rules_stand_on_each_other(tmp_path: Path) -> None:
    """A board of recorded names passes though their rules ask for what is gone."""
    lines = "job:running:share\nsum by (rank) (rank:usage:max)\nlater:load\nsum(up)\n"
    board = saved(tmp_path, "b.promql", lines)
    found = outcomes(of_files(board, saved(tmp_path, "rules.yaml", RULES)))
    gone = "is recorded no more: its rule asks for what is gone"
    assert found["rule job:running:sum"][1].startswith(RENAMED)
    assert found["rule job:running:share"][1].startswith(f"job:running:sum {gone}")
    assert found["line 1"][1].startswith(f"job:running:share {gone}")
    assert found["alert Stuck"][1].startswith(f"job:running:sum {gone}")
    assert "sglang:usage is without the label rank" in found["rule rank:usage:max"][1]
    assert "rank:usage:max is without the label rank" in found["line 2"][1]
    assert found["line 3"] == found["rule later:load"] == (Outcome.PASSED, "")


def test_a_rule_may_keep_an_old_name(tmp_path: Path) -> None:
    """A user who bridges a new name by a rule is told that the old one is gone."""
    rule = "groups: [{rules: [{record: 'sglang:num_running', expr: 'sglang:num_running_reqs'}]}]"
    board = saved(tmp_path, "b.txt", "sglang:num_running{model='a'}")
    found = outcomes(of_files(saved(tmp_path, "r.yml", rule), board))
    assert found["line 1"] == (Outcome.PASSED, "")


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("kind: PrometheusRule\nmetadata: {name: x}\nspec: {groups: [{rules: "
         "[{alert: Stuck, expr: 'sglang:num_running > 1'}]}]}", "alert Stuck"),
        ("kind: ScaledObject\nmetadata: {name: sglang}\nspec: {triggers: [{type: prometheus, "
         "metadata: {serverAddress: 'http://p', query: 'sum(sglang:num_running)'}}]}",
         "ScaledObject sglang"),
        ("a: 1\n---\nkind: AnalysisTemplate\nmetadata: {name: t}\nspec: {metrics: [{provider: "
         "{prometheus: {address: 'http://p', query: 'sglang:num_running'}}}]}",
         "AnalysisTemplate t"),
        ("rules: [{seriesQuery: 'sglang:num_running'}]", "the file"),
    ],
    ids=["rules", "keda", "rollouts", "adapter"],
)  # fmt: skip
def test_objects_of_kubernetes(tmp_path: Path, text: str, where: str) -> None:
    """What scales or alerts in a cluster can't be tried."""
    (case,) = of_files(saved(tmp_path, "b.yaml", text))
    assert case.name == f"b.yaml: {where}"
    assert case.message.startswith(RENAMED)


def test_alerts_of_grafana(tmp_path: Path) -> None:
    """An alert that Grafana evaluates by itself is overlooked."""
    asked = {"refId": "A", "datasourceUid": "p", "model": {"expr": "sglang:num_running"}}
    group = {"groups": [{"rules": [{"title": "Stuck", "condition": "A", "data": [asked]}]}]}
    (case,) = of_files(saved(tmp_path, "b.json", group))
    assert (case.name, case.outcome) == ("b.json: alert Stuck", Outcome.FAILED)


def test_plain_lines(tmp_path: Path) -> None:
    """A query of a scaler, or a comment between them, is read as something else."""
    board = read(saved(tmp_path, "b.promql", "\ufeff# scalers\n\n  up == 0\nsum(x) # why\n"))
    assert [(query.where, query.text) for query in board.queries] == [
        ("line 3", "up == 0"),
        ("line 4", "sum(x) # why"),
    ]


@pytest.mark.parametrize(
    "odd",
    [
        {"templating": {"list": [variable("x", "custom", options={"a": 1}, current=[1])]}},
        {"templating": {"list": [variable("x", query=[1], current={"value": [["a"], None]})]}},
        {"__inputs": 5, "variables": [{"kind": "QueryVariable", "spec": {"query": {"spec": 1}}}]},
        {"__inputs": [5], "panels": {"title": ["a"], "targets": 1, "datasource": 5}},
        {"record": 1, "labels": {"a": 1}, "expr": "sglang:usage", "kind": ["b"]},
    ],
)
def test_odd_documents_are_no_traceback(tmp_path: Path, odd: dict[str, Any]) -> None:
    """A dashboard that some tool has written in its own way ends in a traceback."""
    board = {"odd": odd, "panels": [{"title": "Load", "targets": [target("sglang:load")]}]}
    cases = of_files(saved(tmp_path, "b.json", odd | {"board": board}))
    assert "b.json: panel Load" in {case.name for case in cases}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("b.json", "{"),
        ("b.json", "{}"),
        ("b.json", "[" * 100_000),
        ("b.json", LOGS),
        ("b.yaml", "a: [b"),
        ("b.yaml", "a: !!python/object:os.system b"),
        ("b.promql", "# nothing\n"),
        ("none.json", None),
    ],
)  # fmt: skip
def test_files_of_no_use_are_refused(tmp_path: Path, name: str, text: Any) -> None:
    """A typing error in a file's name or content counts as a board that is fine."""
    if text is not None:
        saved(tmp_path, name, text)
    with pytest.raises(UsageError, match=f"{name}: no dashboard: "):
        read(tmp_path / name)
