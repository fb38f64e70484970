"""What is judged at a step of a canary: its losses, as they are counted by slot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

from ci.deploy.sequential import Count, Evidence, Finding, LossRule
from ci.deploy.world import RouteSeen
from ci.report.model import Case
from ci.traffic.binomial import interval
from ci.verdict import Outcome, Verdict


@dataclass(frozen=True)
class Counters:
    """What a router's counters of one slot said at a look.

    Args:
        requests: Requests that it sent there.
        taken: Those that have come to their end; an open one isn't a good one yet.
    """

    requests: int
    taken: Count

    @classmethod
    def of(cls, route: RouteSeen) -> Self:
        """Return the counters of a slot."""
        sent, lost = route.traffic.requests, route.traffic.failed + route.traffic.cut
        return cls(sent, Count(max(sent - route.open, lost), lost))

    def restarted(self, now: Self) -> bool:
        """Return whether they began anew until `now`, as by a restart of the router.

        Losses alone may seem to shrink: a router tells some only as a difference of counters.
        """
        return now.requests < self.requests

    def until(self, now: Self) -> Self:
        """Return what the next look starts from, so that no request is counted twice."""
        kept = Count() if self.restarted(now) else self.taken
        return replace(now, taken=kept + _since(self, now))


@dataclass(frozen=True)
class LossWatch:
    """The losses of a candidate's real traffic during one step, look by look.

    Args:
        candidate: The slot that is judged.
        stable: The slot that it is compared with; empty where that one gets no traffic.
        evidence: What is known by now.
        counters: What each slot's counters said at the last look.
        seen: What came to its end since the first look, by slot.
    """

    candidate: str
    stable: str
    evidence: Evidence
    counters: Mapping[str, Counters]
    seen: Mapping[str, Count]

    @classmethod
    def begun(
        cls,
        routes: Mapping[str, RouteSeen],
        candidate: str,
        stable: str = "",
        rule: LossRule | None = None,
    ) -> Self:
        """Return the watch of a step that begins now; what was counted before doesn't matter."""
        names = (candidate, stable) if stable else (candidate,)
        return cls(
            candidate,
            stable,
            Evidence(rule or LossRule(), compared=bool(stable)),
            {name: Counters.of(routes[name]) for name in names},
            {name: Count() for name in names},
        )

    @property
    def finding(self) -> Finding:
        """What the last look found."""
        return self.evidence.finding

    @property
    def verdict(self) -> Verdict:
        """What is to be said where the step ends now."""
        return self.evidence.verdict

    def looked(self, routes: Mapping[str, RouteSeen]) -> Self:
        """Return the watch after another look at the router."""
        now = {name: Counters.of(routes[name]) for name in self.counters}
        new = {name: _since(self.counters[name], count) for name, count in now.items()}
        return replace(
            self,
            evidence=self.evidence.after(new[self.candidate], new.get(self.stable, Count())),
            counters={name: self.counters[name].until(now[name]) for name in now},
            seen={name: self.seen[name] + count for name, count in new.items()},
        )

    def case(self) -> Case:
        """Return the case that says what is known by now."""
        told = "; ".join(f"{name} lost {_words(count)}" for name, count in self.seen.items())
        return Case(
            name=f"losses of {self.candidate}",
            outcome=Outcome(self.verdict.value),
            message=f"{told}: {self._why()}",
        )

    def _why(self) -> str:
        rule, others = self.evidence.rule, f"more than {self.stable}" if self.stable else ""
        if self.verdict is Verdict.FAILED:
            return " and ".join(filter(None, (f"more than {rule.allowed:.2%}", others)))
        if self.verdict is Verdict.PASSED:
            return f"under {rule.bad:.2%}"
        if self.evidence.over_allowed:
            return f"more than {rule.allowed:.2%}, but not shown to be {others}"
        enough = f"{rule.least} in a row without a loss would show it"
        return f"can't tell {rule.allowed:.2%} from {rule.bad:.2%} yet; {enough}"


def _since(before: Counters, now: Counters) -> Count:
    """Return what came to its end between two looks; a loss that was counted has ended."""
    taken = Count() if before.restarted(now) else before.taken
    lost = max(now.taken.lost - taken.lost, 0)
    return Count(max(now.taken.ended - taken.ended, lost), lost)


def _words(count: Count) -> str:
    if not count.ended:
        return "0 of 0"
    low, high = interval(count.lost, count.ended)
    return f"{count.lost} of {count.ended} ({low:.2%} to {high:.2%})"
