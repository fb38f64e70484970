"""A comparison in the report: its cases and its words."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ci.gate.blocks import columns
from ci.gate.compare import Comparison, compare
from ci.gate.outputs import Agreement
from ci.gate.power import Need
from ci.gate.result import result_of
from ci.gate.sequential import Schedule
from ci.gate.words import between, of_runs, percent, rate
from ci.report.model import Check
from ci.verdict import Outcome, Verdict
from tests.unit.gate_samples import QUICK, Servers
from tests.unit.judged import check_of

pytestmark = [pytest.mark.unit, pytest.mark.anyio]


def check(comparison: Comparison) -> Check:
    """Return the check of a comparison, which never says more than the comparison does."""
    found = check_of("compare", partial(result_of, comparison))
    if comparison.options.identical is None:
        assert found.verdict is comparison.verdict
    assert all(len(case.message.splitlines()) <= 1 for case in found.cases)
    return found


async def compared(servers: Servers) -> Comparison:
    """Return what a quick comparison finds."""
    return await compare(servers, "old", "new", QUICK)


async def test_a_failure_names_metric_size_and_bounds() -> None:
    """A person reads FAILED, and not by how much."""
    found = check(await compared(Servers({"new": 0.2})))
    assert [case.name for case in found.cases] == ["blocks", "ttft", "tpot", "e2e"]
    assert found.verdict is Verdict.FAILED
    message = found.cases[1].message
    assert message.startswith("slower: +19.5 % (between +1")
    assert "12 pairs, p = 0.00073" in message


async def test_a_pass_says_what_is_ruled_out() -> None:
    """A pass claims more than was shown."""
    found = check(await compared(Servers()))
    assert found.verdict is Verdict.PASSED
    assert all(case.message.startswith("not slower by 10 %: ") for case in found.cases[1:])
    assert found.facts["must not pass"] == "10 % slower, with power 95 %"
    assert found.facts["identical answers"] == "12 of 12 (100 %)"


async def test_a_faster_candidate_is_said() -> None:
    """An improvement isn't told."""
    options = replace(QUICK, schedule=Schedule(12, interim=False))
    found = check(await compare(Servers({"old": 0.5}), "old", "new", options))
    assert all(case.message.startswith("faster: -3") for case in found.cases[1:])


@pytest.mark.parametrize(
    ("need", "words"),
    [
        (Need(64, 256, 400), "a run of 64 pairs finds 10 % with power 95 % (400 simulated runs)"),
        (Need(None, 256, 400), "even 256 pairs don't find 10 % with power 95 %: longer blocks"),
        (Need(12, 256, 400), "more pairs may not help: on this noise 12 tell an equal"),
    ],
)
async def test_inconclusive_says_what_would_help(need: Need, words: str) -> None:
    """A user repeats a run that can't but be inconclusive."""
    found = check(replace(await compared(Servers(noise=0.4)), need=need))
    assert found.verdict is Verdict.INCONCLUSIVE
    assert words in found.cause


async def test_a_cut_run_says_why() -> None:
    """A run that was cut short passes for what it saw until then."""
    whole = await compared(Servers())
    found = check(replace(whole, cut="the budget of 9 s was spent", broken=("candidate: x",)))
    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.cause == "blocks: the budget of 9 s was spent"
    assert found.cases[0].details == "candidate: x"
    nothing = check(replace(whole, cut="no pair", decision=None, pairs=(), agreement=Agreement()))
    assert nothing.verdict is Verdict.INCONCLUSIVE
    assert [case.name for case in nothing.cases] == ["blocks"]
    unsure = await compared(Servers(noise=0.4))
    early = check(replace(unsure, cut="enough", need=None))
    assert "the run ended before its last look" in early.cases[1].message


async def test_replaced_pairs_are_told_beside_a_pass() -> None:
    """Requests that failed leave no trace in the report."""
    found = check(await compared(Servers(problems={4: "1 of 3 requests failed"})))
    assert found.verdict is Verdict.PASSED
    assert found.cases[0].message == "unusable pairs that were measured anew: 1"
    assert "1 of 3 requests failed" in found.cases[0].details


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (Agreement(100, 99), Outcome.PASSED),
        (Agreement(100, 98), Outcome.FAILED),
        (Agreement(), Outcome.INCONCLUSIVE),
    ],
)
async def test_a_least_share_of_identical_answers(answers: Agreement, expected: Outcome) -> None:
    """Answers that differ pass, or answers that weren't kept do."""
    comparison = await compared(Servers())
    options = replace(comparison.options, identical=0.99)
    found = check(replace(comparison, options=options, agreement=answers))
    assert found.cases[-1].name == "answers"
    assert found.cases[-1].outcome is expected


async def test_the_first_divergence_is_a_fact() -> None:
    """A person learns that answers differ, and not where."""
    parted = Agreement().with_block(7, ["same", "left"], ["same", "lift"]).with_block(8, [], ["x"])
    facts = check(replace(await compared(Servers()), agreement=parted)).facts
    assert facts["identical answers"] == "1 of 2 (50 %)"
    assert facts["first divergence"] == (
        "character 2 of request 2, prompts of seed 7: baseline 'left', candidate 'lift'"
    )
    assert "1 pairs" in facts["answers not compared"]


async def test_the_pairs_of_a_run_give_its_decision_again() -> None:
    """A report can't be checked against its own pairs."""
    found = await compared(Servers({"new": 0.07}))
    again = columns(found.pairs, QUICK.rule.metrics)
    assert all(len(column) == len(found.pairs) for column in again.values())


def test_words() -> None:
    """A number is shown with the wrong sign or size."""
    assert [percent(change) for change in (0.1, -0.004, 0.00001, 1.5)] == [
        "+10 %",
        "-0.4 %",
        "±0 %",
        "+150 %",
    ]
    assert (rate(0.01), rate(0.9512)) == ("1 %", "95.12 %")
    assert between(0.98, 1.1) == "between -2 % and +10 %"
    assert between(0.0, math.inf) == "too few pairs for bounds"
    assert of_runs(1, 400, 0.0, 0.01) == "0.25 % of 400 runs (0 % to 1 %)"


@given(st.floats(-1, 1e6))
def test_no_change_is_shown_with_a_wrong_sign(change: float) -> None:
    """A faster candidate is shown as slower."""
    shown = percent(change)
    assert shown[0] in ("±" if abs(change) <= 0.00051 else "", "+" if change > 0 else "-")
