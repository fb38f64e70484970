"""What is wrong, known, and accepted until a day: one rule for every list of that kind.

A rule is in force to the end of its last day, UTC. Of several rules that speak of one thing
the one counts that ends last, so that renewing a rule is adding one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from typing import Generic, Protocol, TypeVar


class AcceptanceRule(Protocol):
    """An entry of such a list, as settings have it."""

    @property
    def until(self) -> date:
        """The last day on which it accepts anything, UTC."""

    @property
    def reason(self) -> str:
        """Why it does."""


RuleT = TypeVar("RuleT", bound=AcceptanceRule)
Thing = TypeVar("Thing")


@dataclass(frozen=True)
class Acceptance(Generic[RuleT, Thing]):
    """A list of rules on one day.

    Args:
        rules: The rules, those that have ended among them.
        speaks_of: Says whether a rule is about a thing.
        today: The day on which it is asked, UTC.
    """

    rules: tuple[RuleT, ...]
    speaks_of: Callable[[RuleT, Thing], bool]
    today: date

    def rule(self, thing: Thing) -> RuleT | None:
        """Return the rule about a thing that ends last, in force or not; None for none."""
        found = (rule for rule in self.rules if self.speaks_of(rule, thing))
        return max(found, key=lambda rule: rule.until, default=None)

    def in_force(self, rule: RuleT) -> bool:
        """Return whether a rule accepts anything today."""
        return self.today <= rule.until

    def accepts(self, thing: Thing) -> bool:
        """Return whether a thing is accepted today."""
        rule = self.rule(thing)
        return rule is not None and self.in_force(rule)

    def told(self, thing: Thing) -> str:
        """Return until when and why a thing is, or was, accepted; empty where no rule is."""
        rule = self.rule(thing)
        if rule is None:
            return ""
        only = "" if self.in_force(rule) else "only "
        return f"accepted {only}until {rule.until} ({rule.reason})"

    def unused(self, things: Iterable[Thing]) -> tuple[RuleT, ...]:
        """Return the rules that are about none of `things`: they can go."""
        found = tuple(things)
        return tuple(
            rule for rule in self.rules if not any(self.speaks_of(rule, thing) for thing in found)
        )
