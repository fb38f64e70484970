"""What a comparison is asked, at how many pairs it may end, and what that costs."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ci.errors import UsageError
from ci.gate.rule import Rule
from ci.gate.sequential import Look, Schedule
from ci.gate.signed_rank import tail

pytestmark = pytest.mark.unit

schedules = st.builds(Schedule, st.integers(1, 60), st.booleans(), st.booleans())
rules = st.builds(
    Rule, false_alarm=st.sampled_from((0.001, 0.01, 0.1)), power=st.sampled_from((0.8, 0.95, 0.99))
)


def looks(schedule: Schedule, rule: Rule) -> tuple[Look, ...]:
    """Return the looks of a schedule, none where it is refused."""
    try:
        return schedule.looks(rule)
    except UsageError:
        return ()


@given(schedules, rules)
@settings(deadline=None, max_examples=60)
def test_all_looks_together_spend_no_more_than_the_rates(schedule: Schedule, rule: Rule) -> None:
    """Looking more often makes errors likelier than the rule allows."""
    found = looks(schedule, rule)
    assert sum(look.alarm for look in found) <= rule.false_alarm * (1 + 1e-9)
    assert sum(look.miss for look in found) <= rule.miss * (1 + 1e-9)
    assert [look.pairs for look in found] == sorted(look.pairs for look in found)


@given(schedules, rules)
@settings(deadline=None, max_examples=60)
def test_a_look_that_can_find_nothing_spends_nothing(schedule: Schedule, rule: Rule) -> None:
    """Power is wasted on looks that come too early."""
    for look in looks(schedule, rule):
        least = tail(look.pairs)[-2]
        assert not look.alarm or least <= look.alarm / len(rule.metrics)
        assert not look.miss or least <= look.miss


@given(schedules, rules)
@settings(deadline=None, max_examples=60)
def test_a_run_that_can_show_nothing_is_refused(schedule: Schedule, rule: Rule) -> None:
    """Minutes are spent on a comparison that can't but be inconclusive."""
    found = looks(schedule, rule)
    whole = [look for look in found if look.pairs == schedule.pairs]
    assert all(look.alarm and look.miss for look in whole)
    assert bool(whole) == bool(found)


def test_the_default_spends_all_of_it() -> None:
    """Power is given away, or a number of pairs is not what is documented."""
    found = Schedule().looks(Rule())
    assert [look.pairs for look in found] == [12, 18, 24, 36, 48]
    assert sum(look.alarm for look in found) == pytest.approx(0.01)
    assert sum(look.miss for look in found) == pytest.approx(0.05)
    assert sum(look.alarm for look in found[:3]) == pytest.approx(0.009)


def test_one_look_spends_everything_at_once() -> None:
    """A run of fixed length pays for looks that it doesn't take."""
    (only,) = Schedule(30, interim=False, repeat=False).looks(Rule())
    assert (only.pairs, only.alarm) == (30, 0.01)
    assert only.miss == pytest.approx(0.05)


@pytest.mark.parametrize("pairs", [-1, 0, 1, 8])
def test_too_few_pairs_say_how_many_it_takes(pairs: int) -> None:
    """A user has to guess."""
    with pytest.raises(UsageError, match=f"{pairs} pairs can't show anything .* at least 9"):
        Schedule(pairs).looks(Rule())
    assert Schedule(9).looks(Rule())


def test_too_many_pairs_are_refused() -> None:
    """A typing error is found after a day."""
    with pytest.raises(UsageError, match="at most 256"):
        Schedule(257).looks(Rule())
    assert Schedule(257, repeat=False).looks(Rule())


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"least": 0.1}, "least effect"),
        ({"least": 0.0}, "least effect"),
        ({"slowdown": float("nan")}, "least effect"),
        ({"allowed": 0.06}, "let pass"),
        ({"allowed": -0.01}, "let pass"),
        ({"allowed": 0.05, "least": 0.1}, "least effect"),
        ({"slowdown": float("inf")}, "least effect"),
        ({"false_alarm": 0.0}, "false_alarm"),
        ({"false_alarm": 0.5}, "false_alarm"),
        ({"power": 1.0}, "power"),
        ({"power": 0.4}, "power"),
        ({"power": float("nan")}, "power"),
        ({"metrics": ()}, "metrics"),
        ({"metrics": ("ttft", "ttft")}, "metrics"),
    ],
)
def test_a_rule_without_a_meaning_is_refused(wrong: dict[str, float], words: str) -> None:
    """A gate runs that can't fail, or can't pass."""
    with pytest.raises(UsageError, match=words):
        Rule(**wrong)  # type: ignore[arg-type]
