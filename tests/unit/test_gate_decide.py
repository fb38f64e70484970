"""What the gate says of differences: the three verdicts, Holm's correction, and its symmetry."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ci.gate.decide import Decision, MetricFinding, decide, holm, verdict
from ci.gate.rule import Rule
from ci.gate.sequential import Look
from ci.verdict import Verdict

pytestmark = pytest.mark.unit

RULE = Rule()
LOOK = Look(24, 0.01, 0.05)
p_values = st.dictionaries(st.text(max_size=3), st.floats(0, 1), min_size=1, max_size=6)
column = st.lists(
    st.one_of(st.floats(-0.3, 0.3), st.sampled_from((0.0, 0.05, math.log(1.1)))),
    min_size=1,
    max_size=30,
)


def around(centre: float, spread: float, pairs: int = 24) -> list[float]:
    """Return differences whose estimate is the logarithm of 1 + `centre`."""
    steps = [spread * (2 * at / (pairs - 1) - 1) for at in range(pairs)]
    return [math.log1p(centre) + step for step in steps]


def of(differences: list[float], look: Look = LOOK, **rule: float) -> MetricFinding:
    """Return what is found where all metrics have the same differences."""
    asked = Rule(**rule)  # type: ignore[arg-type]
    found = decide(dict.fromkeys(asked.metrics, differences), asked, look)
    assert len({finding.verdict for finding in found.findings}) == 1
    return found.findings[0]


@pytest.mark.parametrize(
    ("centre", "spread", "expected"),
    [
        (0.0, 0.05, Verdict.PASSED),
        (0.0, 0.5, Verdict.INCONCLUSIVE),
        (0.03, 0.02, Verdict.PASSED),
        (0.07, 0.02, Verdict.FAILED),
        (0.07, 0.5, Verdict.INCONCLUSIVE),
        (0.1, 0.05, Verdict.FAILED),
        (0.3, 0.1, Verdict.FAILED),
        (0.3, 3.0, Verdict.INCONCLUSIVE),
        (-0.2, 0.1, Verdict.PASSED),
    ],
)
def test_verdicts(centre: float, spread: float, expected: Verdict) -> None:
    """A slower candidate passes, an equal one fails, or noise looks like evidence."""
    assert of(around(centre, spread)).verdict is expected


def test_a_plain_but_small_difference_is_no_failure() -> None:
    """People are blocked for a slow-down below the least effect."""
    found = of(around(0.02, 0.01))
    assert found.p_slower < 1e-5
    assert found.verdict is Verdict.PASSED


@pytest.mark.parametrize(
    ("centre", "spread", "expected"),
    [
        (0.0, 0.05, Verdict.PASSED),
        (0.1, 0.02, Verdict.PASSED),
        (0.2, 0.05, Verdict.INCONCLUSIVE),
        (0.25, 0.2, Verdict.INCONCLUSIVE),
        (0.3, 0.05, Verdict.FAILED),
        (0.3, 0.5, Verdict.INCONCLUSIVE),
    ],
)
def test_what_is_allowed_is_the_bound_of_both(
    centre: float, spread: float, expected: Verdict
) -> None:
    """A slow-down that was allowed fails, or one that wasn't passes."""
    found = of(around(centre, spread), allowed=0.2, least=0.2, slowdown=0.2)
    assert found.verdict is expected
    assert (found.low > 1.2) or expected is not Verdict.FAILED
    assert (found.high < 1.2) or expected is not Verdict.PASSED


def test_a_faster_candidate_is_named() -> None:
    """An improvement goes unnoticed, or noise is called one."""
    assert of(around(-0.1, 0.02)).faster
    assert not of(around(-0.02, 0.01)).faster
    assert not of(around(-0.1, 1.0)).faster
    assert not of(around(0.1, 0.02)).faster


@given(st.lists(column.filter(bool), min_size=3, max_size=3))
@settings(deadline=None)
def test_a_pass_rules_the_slow_down_out(columns: list[list[float]]) -> None:
    """A candidate passes although the slow-down may well be there."""
    found = decide(dict(zip(RULE.metrics, columns, strict=True)), RULE, LOOK)
    for finding in found.findings:
        if finding.verdict is Verdict.PASSED:
            assert finding.high < 1 + RULE.slowdown
            assert finding.p_bounded <= LOOK.miss
        if finding.verdict is Verdict.FAILED:
            assert finding.ratio > 1 + RULE.least
            assert finding.p_slower <= LOOK.alarm


@given(st.lists(column, min_size=3, max_size=3), st.floats(0, 0.5))
@settings(deadline=None)
def test_slower_never_judges_better(columns: list[list[float]], more: float) -> None:
    """A candidate that is slower in every pair gets a better verdict."""
    order = [Verdict.PASSED, Verdict.INCONCLUSIVE, Verdict.FAILED]
    one = dict(zip(RULE.metrics, columns, strict=True))
    slow = {metric: [value + more for value in values] for metric, values in one.items()}
    before, after = verdict(one, RULE, LOOK), verdict(slow, RULE, LOOK)
    assert order.index(after) >= order.index(before)


@given(st.lists(column, min_size=3, max_size=3))
@settings(deadline=None)
def test_swapping_the_servers_inverts_everything(columns: list[list[float]]) -> None:
    """It matters which of two servers is called the baseline."""
    one = dict(zip(RULE.metrics, columns, strict=True))
    other = {metric: [-value for value in values] for metric, values in one.items()}
    for seen, mirrored in zip(
        decide(one, RULE, LOOK).findings, decide(other, RULE, LOOK).findings, strict=True
    ):
        assert (mirrored.p_slower, mirrored.p_faster) == (seen.p_faster, seen.p_slower)
        assert math.log(mirrored.ratio) == pytest.approx(-math.log(seen.ratio), abs=1e-12)
        if not math.isinf(seen.high):
            assert mirrored.low == pytest.approx(1 / seen.high)


@given(st.lists(column, min_size=3, max_size=3))
@settings(deadline=None)
def test_a_simulation_decides_as_a_run_does(columns: list[list[float]]) -> None:
    """Simulated error rates are those of another gate."""
    one = dict(zip(RULE.metrics, columns, strict=True))
    assert verdict(one, RULE, LOOK) is decide(one, RULE, LOOK).verdict


def test_the_order_of_pairs_doesnt_matter() -> None:
    """The same pairs give another verdict."""
    dice = random.Random(1)  # noqa: S311
    columns = {metric: [dice.gauss(0.05, 0.1) for _ in range(24)] for metric in RULE.metrics}
    shuffled = {metric: sorted(values) for metric, values in columns.items()}
    assert decide(columns, RULE, LOOK) == decide(shuffled, RULE, LOOK)


@pytest.mark.parametrize("differences", [[], [0.0], [5.0], [0.0] * 4, [709.0, -700.0, 1400.0]])
def test_too_little_to_say_anything(differences: list[float]) -> None:
    """One pair, or nothing but ties, crashes the gate or looks like evidence."""
    assert of(differences).verdict is Verdict.INCONCLUSIVE


def test_equal_times_in_many_pairs_pass() -> None:
    """A server that is compared with its own recording is inconclusive for ever."""
    found = of([0.0] * 24)
    assert found.verdict is Verdict.PASSED
    assert (found.ratio, found.low, found.high) == (1, 1, 1)


def test_no_level_no_verdict() -> None:
    """A look that comes too early ends a run."""
    nothing = Look(24, 0.0, 0.0)
    assert of(around(0.3, 0.01), nothing).verdict is Verdict.INCONCLUSIVE
    assert of(around(0.0, 0.01), nothing).verdict is Verdict.INCONCLUSIVE


def test_one_slow_metric_fails_and_one_unsure_metric_prevents_a_pass() -> None:
    """A slow-down of the first token alone gets past, or noise in one metric does."""
    equal, slow, unsure = around(0, 0.05), around(0.2, 0.05), around(0, 0.9)
    for others, expected in ((slow, Verdict.FAILED), (unsure, Verdict.INCONCLUSIVE)):
        found: Decision = decide({"ttft": others, "tpot": equal, "e2e": equal}, RULE, LOOK)
        assert found.verdict is expected
        assert found.ends == (expected is Verdict.FAILED)


def test_holm_against_the_step_down_rule() -> None:
    """The adjusted values are those of Bonferroni, or of nobody."""
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx(
        {"a": 0.03, "b": 0.06, "c": 0.06}
    )


@given(p_values, st.floats(0.001, 0.999))
def test_holm_rejects_what_its_step_down_rejects(values: dict[str, float], level: float) -> None:
    """More is rejected than Holm's procedure does, or less."""
    adjusted = holm(values)
    assert list(adjusted) == list(values)
    rejected = set()
    for rank, name in enumerate(sorted(values, key=values.__getitem__)):
        if (len(values) - rank) * values[name] > level:
            break
        rejected.add(name)
    assert {name for name, value in adjusted.items() if value <= level} == rejected


@given(p_values)
def test_holm_lies_between_plain_and_bonferroni(values: dict[str, float]) -> None:
    """A correction makes a p-value smaller, or worse than the simplest one does."""
    for name, value in holm(values).items():
        assert values[name] <= value <= min(1, len(values) * values[name])
