"""Whether a digest may go to an environment: the evidence on it, held against the policy.

One case is one thing that is demanded, and every piece that doesn't count is named as a case
that was skipped: it changes no verdict, and nobody has to wonder why it didn't help.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from ci.release.found import Evidence, FoundPiece
from ci.release.kind import Judging
from ci.release.kinds import EVIDENCE
from ci.release.policy import Policy
from ci.report.model import Case, Check
from ci.verdict import Outcome

NEVER, HOUR = timedelta(), timedelta(hours=1)


def verify(
    evidence: Evidence,
    policy: Policy,
    now: datetime,
    *,
    been_before: bool = False,
    stayed: timedelta = NEVER,
) -> Check:
    """Return the check that holds `evidence` against `policy`.

    Args:
        evidence: All that is attached to the digest.
        policy: What the environment demands.
        now: The time, UTC, at which it is demanded.
        been_before: Whether the digest is, or was, in the environment that has to come first.
        stayed: For how long it was deployed there, without an abort.
    """
    begin = time.monotonic()
    verification = _Verification(evidence, policy, now, been_before=been_before, stayed=stayed)
    return Check(
        name=f"policy {policy.environment}",
        started=now,
        cases=tuple(verification.cases()),
        facts=verification.facts(),
        seconds=time.monotonic() - begin,
    )


@dataclass(frozen=True)
class _Verification:
    evidence: Evidence
    policy: Policy
    now: datetime
    been_before: bool
    stayed: timedelta

    def cases(self) -> Iterator[Case]:
        """Yield one case a demanded thing, then what does not count."""
        for kind in self.policy.settings.evidence:
            yield from self._piece(kind)
        if self.policy.settings.approvals:
            yield self._approvals()
        if self.policy.settings.after:
            yield self._order(self.policy.settings.after)
        if self.policy.settings.after_hours:
            yield self._stay(self.policy.settings.after, self.policy.settings.after_hours)
        yield from self._not_counted()

    def facts(self) -> dict[str, str]:
        """Return what was checked against the policy."""
        pieces = {kind: self._counted(kind) for kind in self.policy.settings.evidence}
        told = {kind: _told(found) for kind, found in pieces.items() if found}
        people = self.policy.approvals(self.evidence, self.now)
        said = {"approved by": ", ".join(_person(*each) for each in people.items())}
        return {"digest": self.evidence.image.digest} | told | (said if people else {})

    def _counted(self, kind: str) -> FoundPiece | None:
        """Return the newest piece of a kind that counts."""
        pieces = self.evidence.of(kind)
        return next((each for each in pieces if not self.policy.doubt(each, self.now)), None)

    def _piece(self, kind: str) -> Iterator[Case]:
        """Yield whether a kind of evidence is there and fresh, and what is wrong inside it."""
        found = self._counted(kind)
        if found is None:
            yield failed(kind, self._missing(kind))
            return
        stale = self.policy.too_old(found, self.now)
        yield failed(kind, stale) if stale else Case(name=kind, outcome=Outcome.PASSED)
        yield from EVIDENCE[kind].judge(found, self._judging)

    @property
    def _judging(self) -> Judging:
        """What pieces are held against."""
        return Judging(
            self.evidence,
            self.policy.settings,
            self.policy.whole,
            self._doubt,
            date.min if self.policy.rollback else self.now.date(),
        )

    def _doubt(self, found: FoundPiece) -> str:
        return self.policy.doubt(found, self.now)

    def _missing(self, kind: str) -> str:
        pieces = self.evidence.of(kind)
        if not pieces:
            return "missing: nothing of that kind is attached"
        return f"missing: of {len(pieces)} attached none counts: {self._doubt(pieces[0])}"

    def _approvals(self) -> Case:
        needed = self.policy.settings.approvals
        people = self.policy.approvals(self.evidence, self.now)
        if len(people) >= needed:
            return Case(name="approvals", outcome=Outcome.PASSED)
        others = sorted(set(self.policy.settings.approvers) - set(people))
        given = f"{len(people)} of {needed} given" + (f", by {', '.join(people)}" if people else "")
        return failed("approvals", f"{given}; still to be asked: {', '.join(others)}")

    def _order(self, before: str) -> Case:
        name = f"was in {before}"
        if self.been_before:
            return Case(name=name, outcome=Outcome.PASSED)
        return failed(name, f"no signed promotion says that it is, or was, in {before}")

    def _stay(self, before: str, hours: float) -> Case:
        name, stayed = f"was deployed in {before} for {hours:g} h", self.stayed / HOUR
        if stayed >= hours:
            return Case(name=name, outcome=Outcome.PASSED)
        if not stayed:
            return failed(name, f"no signed deployment says that it was at rest in {before}")
        return failed(name, f"{stayed:.1f} h without an abort, by signed deployments")

    def _not_counted(self) -> Iterator[Case]:
        for kind in self.policy.settings.evidence:
            for found in self.evidence.of(kind):
                yield from _skipped(found, self._doubt(found))
        for found in self.policy.of_environment(self.evidence):
            yield from _skipped(found, self.policy.approval_doubt(found, self.now))
        for found in self.evidence.of(""):
            yield from _skipped(found, found.problem)


def failed(name: str, message: str) -> Case:
    """Return the case of something that isn't as it is demanded."""
    return Case(name=name, outcome=Outcome.FAILED, message=message)


def _skipped(found: FoundPiece, doubt: str) -> Iterator[Case]:
    if doubt:
        name = f"{found.name} ({found.artifact.digest[7:19]}) does not count"
        yield Case(name=name, outcome=Outcome.SKIPPED, message=doubt)


def _told(found: FoundPiece) -> str:
    signer = f"signed by {found.signer}" if found.signer else "unsigned"
    return f"{found.bundle}, {signer}, {found.created:%Y-%m-%d %H:%M:%S} UTC"


def _person(name: str, found: FoundPiece) -> str:
    return name if found.signer == name else f"{name} (vouched for by {found.signer})"
