"""Boards held against two versions' metrics: every form in which PromQL names one."""

from __future__ import annotations

import pytest

from ci.boards.judge import cases
from ci.boards.model import Board, Query
from ci.boards.union import alternatives
from ci.contract.model import ContractPart
from ci.verdict import Outcome
from tests.unit.board_samples import BEFORE, judged, metric

pytestmark = pytest.mark.unit

RENAMED = "sglang:num_running is gone; perhaps renamed to sglang:num_running_reqs"
NO_RANK = "sglang:usage is without the label rank"
APART = "sglang:usage and sglang:load don't match any more: only one of them has the label rank"
VARIABLE = "a Grafana variable without values in the file names the metric"

LACKING = {
    "sum(sglang:num_running)": RENAMED,
    "sum(sglang_num_running)": "sglang_num_running is gone",
    '{__name__="sglang:num_running"}': RENAMED,
    '{"sglang:num_running"}': RENAMED,
    '{"sglang:num_running", model="a"}': RENAMED,
    '{__name__=~"sglang[:_]num_running"}': f"nothing matches sglang[:_]num_running any more: "
    f"{RENAMED}",
    '{__name__=~"sglang:num_running|sglang:load"}': RENAMED,
    '{__name__=~"sglang[:_](usage|num_running)"}': RENAMED,
    '{__name__=~"sglang:num.*", __name__!~".*_reqs"}': RENAMED,
    "max_over_time(rate(sglang:num_running[5m])[1h:5m])": RENAMED,
    "sglang:load / on (model) sglang:num_running": RENAMED,
    "sglang:num_running or vector(0)": RENAMED,
    "absent(sglang:num_running)": RENAMED,
    'sglang:usage{rank="0"}': NO_RANK,
    'sglang:usage{rank!="0"}': NO_RANK,
    'sglang:usage{rank=~"0|1"}': NO_RANK,
    '{__name__=~"sglang:usage", rank="0"}': NO_RANK,
    '{cause="client"}': "no metric has the label cause any more",
    "sum by (rank) (sglang:usage)": NO_RANK,
    "sum(sglang:usage) by (model, rank)": NO_RANK,
    "topk by (rank) (1, sglang:usage)": NO_RANK,
    "sum by (rank) (avg without (model) (sglang:usage))": NO_RANK,
    "sum by (rank) (rate(sglang:usage[5m]) > 0)": NO_RANK,
    "sglang:usage / on (model, rank) sglang:load": NO_RANK,
    "sglang:load and on (rank) sglang:usage": NO_RANK,
    "sglang:load * on (model) group_left (rank) sglang:usage": NO_RANK,
    "sglang:usage * on (model) group_right (rank) sglang:load": NO_RANK,
    "sglang:usage / sglang:load": APART,
    'label_replace(sglang:usage, "gpu", "$1", "rank", "(.*)")': NO_RANK,
    'label_join(sglang:usage, "all", "-", "model", "rank")': NO_RANK,
}  # fmt: skip
"""Expression to what it lacks in the new version."""

WHOLE = (
    'sglang:usage{model=~"a{}"}',
    "histogram_quantile(0.9, sum by (le) (rate(sglang_ttft_seconds_bucket[5m])))",
    "rate(sglang:ttft_seconds_sum[5m]) / rate(sglang:ttft_seconds_count[5m])",
    "sum by (instance, model) (sglang:usage)",
    "sum without (rank) (sglang:usage)",
    "sglang:usage / ignoring (rank) sglang:load",
    "sum by (rank) (sum by (model) (sglang:usage))",
    "sglang:num_running or sglang:num_running_reqs",
    '{__name__=~"sglang:num_running|sglang:num_running_reqs"}',
    "sglang:from_another_version or sglang:load",
    'sum by (rank) (label_replace(sum by (model) (sglang:usage), "rank", "$1", "model", "(.*)"))',
    'sum by (rank) (count_values("rank", sum by (model) (sglang:usage)))',
    'count_values by (model) ("rank", sglang:load)',
    "sglang:load + scalar(sum(sglang:load))",
    'sglang:load{rank="0"} offset 5m > bool 1',
)
"""Expressions that have all that they need."""

DOUBTFUL = {
    "sglang:odd": "sglang:odd: neither version exposed it",
    '{__name__=~"sglang:odd.*"}': "sglang:odd.*: neither version exposed it",
    "sum(": "PromQL's parser refuses it: unclosed left parenthesis",
    "foo bar": "PromQL's parser refuses it: invalid promql query",
    "no_such_function(sglang:load)": "unknown function with name 'no_such_function'",
    "$metric": VARIABLE,
    '{__name__="sglang:$metric"}': VARIABLE,
    '{__name__=~"sglang:[[:alpha:]]+"}': "means something else to Prometheus than here",
    "(" * 9999 + "sglang:load" + ")" * 9999: "over 300 operators and brackets",
    "abs(" * 290 + "sglang:load" + ")" * 290: "nested too deeply",
}
"""Expressions of which nothing can be said."""

OTHERS = ("up", 'rate(vllm:num{job="sglang"}[5m])', '{job="x"}', '{__name__=~".+"}', "vector(1)")
"""Expressions that don't ask for SGLang's metrics."""


@pytest.mark.parametrize("expr", LACKING)
def test_what_is_gone_is_failed(expr: str) -> None:
    """A panel is empty after the upgrade, and the advisor says that all is well."""
    (case,) = judged(Query("panel 'x'", expr))
    assert case.outcome is Outcome.FAILED
    assert case.name == "b: panel 'x'"
    assert LACKING[expr] in case.message
    assert case.message.endswith(f", in {expr}")


@pytest.mark.parametrize("expr", WHOLE)
def test_what_is_whole_passes(expr: str) -> None:
    """An upgrade is held up by a panel that works."""
    (case,) = judged(expr)
    assert (case.outcome, case.message) == (Outcome.PASSED, "")


@pytest.mark.parametrize("expr", DOUBTFUL)
def test_what_cannot_be_told_is_inconclusive(expr: str) -> None:
    """An expression that nobody could read passes, or takes the whole run with it."""
    (case,) = judged(expr)
    assert case.outcome is Outcome.INCONCLUSIVE
    assert DOUBTFUL[expr] in case.message


@pytest.mark.parametrize("expr", OTHERS)
def test_what_is_not_sglangs_is_skipped(expr: str) -> None:
    """A board of other programs' metrics counts as proven."""
    (case,) = judged(expr)
    assert case.outcome is Outcome.SKIPPED
    assert case.message == "no metric of SGLang's is asked for by line 1"


def test_a_pattern_that_matches_fewer_says_so() -> None:
    """A metric vanishes from a panel of many without a word, or a panel that lives on fails."""
    (case,) = judged('{__name__=~"sglang[:_].*"}')
    assert case.outcome is Outcome.PASSED
    assert case.message.startswith(f"sglang[:_].* matches fewer metrics: {RENAMED}")


def test_the_worst_of_a_place_comes_first() -> None:
    """What breaks a panel is hidden behind what is only unsure."""
    (case,) = judged("sum(", "sglang:load", "sum(sglang:num_running)")
    assert case.outcome is Outcome.FAILED
    assert case.message == f"{RENAMED}, in sum(sglang:num_running); and 1 more"
    assert case.details.splitlines()[1].endswith("unclosed left parenthesis, in sum(")


@pytest.mark.parametrize(
    ("old", "new", "outcome", "message"),
    [
        (ContractPart(unknown="not up"), BEFORE, Outcome.INCONCLUSIVE, "not up"),
        (ContractPart(absent="no /metrics"), BEFORE, Outcome.INCONCLUSIVE, "no /metrics"),
        (BEFORE, ContractPart(unknown="not up"), Outcome.INCONCLUSIVE, "not up"),
        (
            BEFORE,
            ContractPart(absent="no /metrics"),
            Outcome.FAILED,
            "sglang:load is gone: no /metrics",
        ),
    ],
    ids=["old unknown", "old without", "new unknown", "new without"],
)
def test_versions_without_metrics(
    old: ContractPart, new: ContractPart, outcome: Outcome, message: str
) -> None:
    """A server that was never scraped keeps every promise."""
    (case,) = cases([Board("b", (Query("line 1", "sglang:load"),))], old, new)
    assert case.outcome is outcome
    assert message in case.message


def test_a_summary_has_no_buckets() -> None:
    """A quantile over buckets that are no more counts as whole."""
    old = ContractPart(items=metric("sglang:ttft", "histogram"))
    new = ContractPart(items=metric("sglang:ttft", "summary"))
    board = Board("b", (Query("line 1", "rate(sglang:ttft_bucket[5m])"),))
    (case,) = cases([board], old, new)
    assert case.outcome is Outcome.FAILED


@pytest.mark.parametrize(
    ("pattern", "parts"),
    [
        ("a", ["a"]),
        ("a|b", ["a", "b"]),
        ("x:(a|b(c|d)).*", ["x:a.*", "x:bc.*", "x:bd.*"]),
        (r"(?:a|b)[|)]\|c", [r"a[|)]\|c", r"b[|)]\|c"]),
        ("(a|b)+c|d", ["(?:a|b)+c", "d"]),
        ("(?i)a|b", ["(?i)a|b"]),
        ("(a|)b", ["ab", "b"]),
        ("(0|1|2|3|4|5|6|7|8|9)" * 3, ["(0|1|2|3|4|5|6|7|8|9)" * 3]),
    ],
)
def test_patterns_are_taken_apart(pattern: str, parts: list[str]) -> None:
    """One of several names in a pattern is gone, and the others hide it."""
    assert alternatives(pattern) == parts
