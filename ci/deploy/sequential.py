"""Whether a candidate loses too many requests: a sequential test with stated rates of error.

Two questions are asked at each look, of the requests that ended since the look before.

*Does it lose more than is allowed?* Wald's likelihood ratio of the bad rate against the allowed
one. Where it falls to `miss`, the candidate is good.

*Does it lose more than the stable slot at the same time?* What hits both slots (a network, a
client that sends nonsense, a full disk of the host) is no fault of the candidate, and an abort
would mend nothing. For one block of requests to both slots the evidence is

    E = P(losses | candidate loses a, stable loses b) / P(losses | both lose m)

with a > b and m their mean, weighted by the block's requests. If both really lose the same q, the
expectation of E is at most 1 whatever q is: as a function of q it is a product of lines, whose
logarithm is concave, and at q = m its value is 1 and its slope 0. A candidate that loses less than
the stable slot makes it smaller still. So the product over blocks is a test martingale, though q
may be another one in each block; losses that come and go on both slots don't add up. Source:
Turner, Ly, Grünwald, "Generic E-variables for exact sequential k-sample tests", 2021. As `a` isn't
known, the mean over several is taken.

BAD needs both ratios to reach 1 / alpha at one look: by Ville's inequality neither does so with a
chance over alpha, at however many looks, if the candidate loses no more than is allowed, or no more
than the stable slot. Without traffic on the stable slot the first question decides alone.

A test that ended GOOD is followed by a new one, as otherwise long good conduct would hide a fault
that begins late. The n-th of them has alpha = false_abort / (n (n + 1)), so that all of them
together keep `false_abort` for as long as a step may last; `miss` holds for each of them.

The evidence of the first question never grows over 1 / alpha, so that an outage of both slots
isn't held against the candidate for long. That lets pass what comes back from there by luck: each
loss that would have made it grow on adds at most alpha * miss to the chance of a miss.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Self

from ci.errors import UsageError
from ci.verdict import Verdict

_WORST = 0.9
"""The highest rate of losses that is thought of; one of 1 would rule out a single good answer."""


@dataclass(frozen=True)
class LossRule:
    """How many losses are too many, and how often the answer may be wrong.

    Args:
        allowed: Rate of losses that is let pass.
        bad: Rate of losses that must not pass.
        false_abort: Highest chance of BAD in a whole step, for a candidate that loses no more than
            is allowed, or no more than the stable slot.
        miss: Highest chance that a test ends GOOD, for a candidate that loses the bad rate or more.

    Raises:
        UsageError: A number lies outside of its range.
    """

    allowed: float = 0.005
    bad: float = 0.03
    false_abort: float = 0.01
    miss: float = 0.05

    def __post_init__(self) -> None:
        """Refuse what no test can mean."""
        if not 0 < self.allowed < self.bad < _WORST:
            raise UsageError(
                f"watch: the allowed rate of losses ({self.allowed:g}) must lie over 0, and the "
                f"bad one ({self.bad:g}) over that and under {_WORST:g}"
            )
        for name, value in (("false_abort", self.false_abort), ("miss", self.miss)):
            if not 0 < value < 0.5:  # noqa: PLR2004
                raise UsageError(f"watch: {name} is {value:g}, and must lie between 0 and 0.5")

    @property
    def thought_of(self) -> tuple[float, ...]:
        """Rates of a bad candidate that are thought of: the bad one, the worst, one between."""
        return self.bad, math.sqrt(self.bad * _WORST), _WORST

    @property
    def least(self) -> int:
        """Requests without a loss after which a candidate is good."""
        return math.ceil(math.log(self.miss) / self.absolute(Count(1)))

    def absolute(self, candidate: Count) -> float:
        """Return the logarithm of the likelihood ratio, the bad rate over the allowed one."""
        return _likelihood(candidate, self.bad) - _likelihood(candidate, self.allowed)

    def comparative(self, candidate: Count, stable: Count) -> tuple[float, ...]:
        """Return the logarithm of a block's evidence, for each rate that is thought of."""
        both = candidate + stable
        share = candidate.ended / both.ended
        return tuple(
            _likelihood(candidate, rate)
            + _likelihood(stable, self.allowed)
            - _likelihood(both, share * rate + (1 - share) * self.allowed)
            for rate in self.thought_of
        )


@dataclass(frozen=True)
class Count:
    """Requests that came to their end, and those of them that were lost: failed or cut."""

    ended: int = 0
    lost: int = 0

    def __add__(self, other: Count) -> Count:
        return Count(self.ended + other.ended, self.lost + other.lost)


class Finding(StrEnum):
    """What a look found."""

    CONTINUE = "continue"
    GOOD = "good"
    BAD = "bad"


@dataclass(frozen=True)
class Evidence:
    """What is known of a candidate after some looks.

    Args:
        rule: What is asked.
        compared: Whether the stable slot has traffic to compare with.
        test: Which test it is, from 1: the one after each that ended GOOD.
        absolute: Logarithm of the evidence that more is lost than is allowed.
        against: Logarithms of the evidence that more is lost than by the stable slot, for each
            rate that is thought of.
        unpaired: What only one of the slots got, kept until the other one got something too.
    """

    rule: LossRule = field(default_factory=LossRule)
    compared: bool = True
    test: int = 1
    absolute: float = 0.0
    against: tuple[float, ...] = ()
    unpaired: tuple[Count, Count] = (Count(), Count())

    @property
    def comparative(self) -> float:
        """Logarithm of the evidence that more is lost than by the stable slot."""
        logs = self.against or (0.0,)
        most = max(logs)
        return most + math.log(math.fsum(math.exp(one - most) for one in logs) / len(logs))

    @property
    def _enough(self) -> float:
        """Logarithm of the evidence that makes a candidate bad."""
        return math.log(self.test * (self.test + 1) / self.rule.false_abort)

    @property
    def over_allowed(self) -> bool:
        """Whether it is shown that more is lost than is allowed, by whoever's fault."""
        return self.absolute >= self._enough

    @property
    def finding(self) -> Finding:
        """What the last look found."""
        if self.absolute <= math.log(self.rule.miss):
            return Finding.GOOD
        worse = not self.compared or self.comparative >= self._enough
        return Finding.BAD if self.over_allowed and worse else Finding.CONTINUE

    @property
    def verdict(self) -> Verdict:
        """What is said if nothing more is seen; too little traffic is never a pass.

        After a test that ended GOOD, one that leans to the other side is waited for.
        """
        if self.finding is Finding.BAD:
            return Verdict.FAILED
        shown = self.finding is Finding.GOOD or self.test > 1
        return Verdict.PASSED if shown and self.absolute <= 0 else Verdict.INCONCLUSIVE

    def after(self, candidate: Count, stable: Count) -> Self:
        """Return what is known after a look that saw these requests end."""
        if self.finding is Finding.GOOD:
            fresh = replace(self, test=self.test + 1, absolute=0.0, against=())
            return fresh.after(candidate, stable)
        ours, theirs = self.unpaired[0] + candidate, self.unpaired[1] + stable
        absolute = min(self.absolute + self.rule.absolute(candidate), self._enough)
        found = replace(self, absolute=absolute)
        if not (ours.ended and theirs.ended):
            return replace(found, unpaired=(ours, theirs))
        grown = self.rule.comparative(ours, theirs)
        before = self.against or (0.0,) * len(grown)
        added = tuple(one + more for one, more in zip(before, grown, strict=True))
        return replace(found, against=added, unpaired=(Count(), Count()))


def _likelihood(seen: Count, rate: float) -> float:
    """Return the logarithm of the likelihood of what was seen."""
    return seen.lost * math.log(rate) + (seen.ended - seen.lost) * math.log1p(-rate)
