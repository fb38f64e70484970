"""What is accepted until a day, whatever list it stands in."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import pytest

from ci.accepted import Acceptance

pytestmark = pytest.mark.unit

TODAY = date(2026, 11, 20)
TOMORROW, YESTERDAY = TODAY + timedelta(days=1), TODAY - timedelta(days=1)


@dataclass(frozen=True)
class Entry:
    """A rule about everything that begins so."""

    start: str
    until: date = TODAY
    reason: str = "known"


def accepting(*rules: Entry, today: date = TODAY) -> Acceptance[Entry, str]:
    """Return a list of rules on a day."""
    return Acceptance(rules, lambda rule, thing: thing.startswith(rule.start), today)


def test_a_rule_ends_after_its_last_day() -> None:
    """What was accepted for a while is accepted for ever, or ends a day too soon."""
    assert accepting(Entry("a")).accepts("abc")
    assert accepting(Entry("a")).told("abc") == "accepted until 2026-11-20 (known)"
    over = accepting(Entry("a"), today=TOMORROW)
    assert not over.accepts("abc")
    assert over.told("abc") == "accepted only until 2026-11-20 (known)"


def test_what_no_rule_is_about_is_not_accepted() -> None:
    """A list that accepts something accepts everything."""
    found = accepting(Entry("a"), Entry("b"))
    assert (found.accepts("c"), found.rule("c"), found.told("c")) == (False, None, "")


@pytest.mark.parametrize("newest_first", [True, False])
def test_a_rule_is_renewed_by_another(*, newest_first: bool) -> None:
    """What was renewed counts as ended, depending on the order of the list."""
    rules = [Entry("ab", TOMORROW, "renewed"), Entry("a", YESTERDAY)]
    found = accepting(*(rules if newest_first else reversed(rules)))
    assert found.rule("abc") == rules[0]
    assert found.told("abc") == "accepted until 2026-11-21 (renewed)"
    assert not found.accepts("acb")


def test_a_rule_that_nothing_needs_is_told() -> None:
    """A list of exceptions only ever grows."""
    rules = (Entry("a"), Entry("b", YESTERDAY), Entry("c", YESTERDAY))
    assert accepting(*rules).unused(["abc", "cba"]) == (rules[1],)
    assert accepting(*rules).unused([]) == rules
