"""The test behind an abort: its error rates, computed over all that can happen, not drawn."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from math import comb

import pytest

from ci.deploy.sequential import Count, Evidence, Finding, LossRule
from ci.errors import UsageError
from ci.verdict import Verdict
from tests.rare import rare

pytestmark = pytest.mark.unit

RULE = LossRule()
NEGLIGIBLE, LEFT_OUT = 1e-8, 4e-4
"""Paths that are less likely than the first are left out; all of them are no more than the second,
which is added to the rate of errors."""
Rates = tuple[float, float]


def chances(
    rates: Callable[[int], Rates], looks: int, start: Evidence, block: tuple[int, int] = (1, 1)
) -> dict[Finding, float]:
    """Return the chance of each end of one test, exactly.

    Args:
        rates: The candidate's and the stable slot's rate of losses, at each look.
        looks: Most looks.
        start: The test.
        block: Requests of each slot between two looks.
    """
    ours, theirs = block
    found, left_out = dict.fromkeys(Finding, 0.0), 0.0
    at = {(0.0, 0, 0): (1.0, start)}
    for look in range(looks):
        mine, other = rates(look)
        following: dict[tuple[float, int, int], tuple[float, Evidence]] = {}
        for (_, lost, others), (chance, evidence) in at.items():
            for a in range(ours + 1):
                for b in range(theirs + 1):
                    here = chance * binomial(ours, a, mine) * binomial(theirs, b, other)
                    if here < NEGLIGIBLE:
                        left_out += here
                        continue
                    now = evidence.after(Count(ours, a), Count(theirs, b))
                    if now.finding is not Finding.CONTINUE:
                        found[now.finding] += here
                        continue
                    key = round(now.absolute, 6), lost + a, others + b
                    before = following.get(key, (0.0, now))[0]
                    following[key] = before + here, now
        at = following
    found[Finding.CONTINUE] += sum(chance for chance, _ in at.values())
    assert sum(found.values()) + left_out == pytest.approx(1)
    assert left_out < LEFT_OUT
    return found


def binomial(count: int, hits: int, rate: float) -> float:
    """Return the chance of exactly so many hits."""
    return float(comb(count, hits) * rate**hits * (1 - rate) ** (count - hits))


def always(candidate: float, stable: float) -> Callable[[int], Rates]:
    """Return rates that stay."""
    return lambda _: (candidate, stable)


def coming_and_going(look: int) -> Rates:
    """Return what hits both slots for five looks of ten."""
    return (0.5, 0.5) if look % 10 < 5 else (0.005, 0.005)


@pytest.mark.parametrize("test", rare([1, 3]))
@pytest.mark.parametrize(
    ("rates", "looks"),
    rare(
        [
            (always(0.3, 0.3), 20),
            (always(0.005, 0.0), 200),
            (always(0.005, 0.005), 120),
            (always(0.03, 0.03), 60),
            (always(0.03, 0.1), 30),
            (coming_and_going, 30),
        ],
    ),
)
def test_a_candidate_that_is_no_worse_is_rarely_aborted(
    rates: Callable[[int], Rates], looks: int, test: int
) -> None:
    """A good release is rolled back more often than is said, or for what hits both slots."""
    found = chances(rates, looks, Evidence(test=test))
    assert found[Finding.BAD] + LEFT_OUT <= RULE.false_abort / (test * (test + 1))


def test_all_tests_of_a_step_share_one_rate() -> None:
    """The longer a step lasts, the surer a good candidate is aborted."""
    assert sum(1 / (test * (test + 1)) for test in range(1, 10_000)) < 1


@pytest.mark.parametrize("block", [(1, 4), (5, 1)])
@pytest.mark.long
def test_uneven_shares_and_long_looks_keep_the_rates(block: tuple[int, int]) -> None:
    """The rates of error hold for one share of the canary, or one pace of looks."""
    for rates in (always(0.005, 0.0), always(0.05, 0.05)):
        found = chances(rates, 12, Evidence(), block)
        assert found[Finding.BAD] + LEFT_OUT <= RULE.false_abort / 2
    found = chances(always(0.03, 0.0), 130 // block[0], Evidence(), block)
    assert found[Finding.GOOD] + LEFT_OUT <= RULE.miss


@pytest.mark.long
@pytest.mark.parametrize(("candidate", "stable"), [(0.06, 0.0), (0.03, 0.0)])
def test_a_bad_candidate_is_rarely_good(candidate: float, stable: float) -> None:
    """A release that loses too much goes on to the next step."""
    found = chances(always(candidate, stable), 140, Evidence())
    assert 0 < found[Finding.GOOD] + LEFT_OUT <= RULE.miss


def test_without_a_stable_slot_the_rates_hold_too() -> None:
    """The last step, in which the candidate has all traffic, is judged by luck."""
    alone = Evidence(compared=False)
    nobody = (1, 0)
    assert chances(always(0.005, 0.0), 400, alone, nobody)[Finding.BAD] <= RULE.false_abort / 2
    found = chances(always(0.03, 0.0), 1000, alone, nobody)
    assert found[Finding.GOOD] <= RULE.miss
    assert found[Finding.BAD] >= 0.93


@pytest.mark.long
def test_a_bad_candidate_is_found() -> None:
    """The test never says BAD, which keeps every rate of false aborts."""
    assert chances(always(0.2, 0.0), 80, Evidence())[Finding.BAD] >= 0.95
    assert chances(always(1.0, 0.0), 5, Evidence())[Finding.BAD] == pytest.approx(1)
    assert chances(always(1.0, 0.0), 3, Evidence(), (1, 9))[Finding.BAD] == pytest.approx(1)


@pytest.mark.parametrize("block", [(1, 1), (1, 9), (4, 2), (3, 7)])
def test_the_evidence_of_a_block_is_at_most_one_on_average(block: tuple[int, int]) -> None:
    """What both slots lose alike adds up to evidence against the candidate."""
    ours, theirs = block
    for candidate, stable in [(q / 40, q / 40) for q in range(41)] + [(0.1, 0.3), (0.0, 1.0)]:
        means: dict[float, float] = defaultdict(float)
        for a in range(ours + 1):
            for b in range(theirs + 1):
                chance = binomial(ours, a, candidate) * binomial(theirs, b, stable)
                logs = RULE.comparative(Count(ours, a), Count(theirs, b))
                for rate, log in zip(RULE.thought_of, logs, strict=True):
                    means[rate] += chance * math.exp(log)
        assert max(means.values()) <= 1 + 1e-12


def test_too_little_traffic_is_never_a_pass() -> None:
    """A canary that nobody asked anything goes out to everybody."""
    evidence = Evidence()
    assert evidence.verdict is Verdict.INCONCLUSIVE
    assert evidence.after(Count(), Count(500)).verdict is Verdict.INCONCLUSIVE
    assert evidence.after(Count(RULE.least - 1), Count()).verdict is Verdict.INCONCLUSIVE
    enough = evidence.after(Count(RULE.least), Count())
    assert (enough.verdict, enough.finding) == (Verdict.PASSED, Finding.GOOD)
    assert RULE.least == 118


def test_a_fault_that_begins_late_is_found_as_fast() -> None:
    """Long good conduct hides that a server hangs."""
    evidence = Evidence()
    for _ in range(5000):
        evidence = evidence.after(Count(1), Count(1))
    assert evidence.verdict is Verdict.PASSED
    looks = 0
    while evidence.finding is not Finding.BAD:
        evidence, looks = evidence.after(Count(1, 1), Count(1)), looks + 1
    assert looks <= 25
    assert evidence.verdict is Verdict.FAILED


def test_an_outage_of_both_slots_is_waited_for() -> None:
    """An outage aborts a good candidate, passes it, or is held against it for ever after."""
    evidence = Evidence()
    for _ in range(200):
        evidence = evidence.after(Count(1, 1), Count(1, 1))
    assert evidence.over_allowed
    assert (evidence.finding, evidence.verdict) == (Finding.CONTINUE, Verdict.INCONCLUSIVE)
    looks = 0
    while evidence.finding is not Finding.GOOD:
        evidence, looks = evidence.after(Count(1), Count(1)), looks + 1
    assert looks < 400


def test_a_test_that_leans_to_the_other_side_is_waited_for() -> None:
    """A step ends as passed while losses begin to come."""
    good = Evidence().after(Count(RULE.least), Count(RULE.least))
    leaning = good.after(Count(3, 1), Count(3))
    assert leaning.verdict is Verdict.INCONCLUSIVE
    assert leaning.after(Count(100), Count(100)).verdict is Verdict.PASSED


def test_looks_that_see_one_slot_alone_are_laid_together() -> None:
    """At little traffic the slots are never compared, and nothing is ever aborted."""
    evidence = Evidence()
    for _ in range(8):
        for ours, theirs in ((Count(1, 1), Count()), (Count(), Count(4))):
            evidence = evidence.after(ours, theirs)
    assert evidence.finding is Finding.BAD


@pytest.mark.parametrize(
    "wrong",
    [
        *({"allowed": 0.0}, {"allowed": 0.03}, {"bad": 0.9}, {"bad": 0.004}),
        *({"false_abort": 0.0}, {"miss": 0.5}),
    ],
)
def test_rates_that_mean_nothing_are_refused(wrong: dict[str, float]) -> None:
    """A typing error in the settings makes a test that always passes."""
    with pytest.raises(UsageError):
        LossRule(**wrong)
