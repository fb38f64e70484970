"""What an environment demands, and whose word counts there.

A piece counts that somebody signed who may. What doesn't count (about another digest, tampered
with, signed by somebody unknown, from the future) changes nothing: whoever can write to a
repository could have attached it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Self

from ci.errors import UsageError
from ci.release.found import Evidence, FoundPiece
from ci.settings import EnvironmentSettings, Settings

SKEW = timedelta(minutes=5)
"""How far the clock of whoever signed may be ahead of ours."""


@dataclass(frozen=True)
class Policy:
    """What one environment demands.

    Args:
        environment: Its name.
        settings: Its settings.
        trusted: All names of [trust].
        whole: All settings, of which kinds of evidence have some of their own.
        rollback: Whether nothing that was accepted for a while has ended.
    """

    environment: str
    settings: EnvironmentSettings
    trusted: tuple[str, ...] = ()
    whole: Settings = field(default_factory=Settings)
    rollback: bool = False

    @classmethod
    def of(cls, settings: Settings, environment: str) -> Self:
        """Return the policy of one environment.

        Raises:
            UsageError: There is none of that name.
        """
        if environment not in settings.environments:
            known = ", ".join(settings.environments) or "none yet: add [environments.NAME]"
            raise UsageError(f"no environment {environment!r} in the settings; there: {known}")
        found = settings.environments[environment]
        return cls(environment, found, settings.trust.names(), settings)

    def for_rollback(self) -> Self:
        """Return what is demanded of a digest that was there before: the same, at any age."""
        settings = self.settings.model_copy(update={"max_age_days": 0.0, "after_hours": 0.0})
        return replace(self, settings=settings, rollback=True)

    @property
    def signers(self) -> tuple[str, ...]:
        """Names whose evidence and promotions count."""
        return self.settings.signers or self.trusted

    def doubt(self, found: FoundPiece, now: datetime) -> str:
        """Return why a piece does not count here, in one line; empty where it does."""
        return self.disbelief(found) or _future(found, now)

    def disbelief(self, found: FoundPiece) -> str:
        """Return why a piece isn't the word of somebody who counts; empty where it is."""
        if found.problem or (not self.settings.signed and not found.signer):
            return found.problem
        return self.stranger(found.signer)

    def stranger(self, signer: str) -> str:
        """Return why the signatures of `signer` don't count here; empty where they do."""
        if not signer:
            return "nobody signed it"
        if signer in self.signers:
            return ""
        return f"signed by {signer!r}; allowed: {', '.join(self.signers)}"

    def too_old(self, found: FoundPiece, now: datetime) -> str:
        """Return how much too old a piece is; empty where it isn't."""
        days, age = self.settings.max_age_days, now - found.created
        if not days or age <= timedelta(days=days):
            return ""
        return f"stale: {age / timedelta(days=1):.1f} days old, and {days:g} are allowed"

    def approval_doubt(self, found: FoundPiece, now: datetime) -> str:
        """Return why an approval does not count here; empty where it does."""
        by, settings = str(found.predicate.get("by", "")), self.settings
        if found.problem:
            return found.problem
        if by not in settings.approvers:
            allowed = ", ".join(settings.approvers) or "nobody"
            return f"{by!r} is no approver; allowed: {allowed}"
        return _future(found, now) or self.too_old(found, now) or self._vouched(by, found.signer)

    def approvals(self, evidence: Evidence, now: datetime) -> dict[str, FoundPiece]:
        """Return the approvals that count here, one a person, the newest."""
        found: dict[str, FoundPiece] = {}
        for each in self.of_environment(evidence):
            if not self.approval_doubt(each, now):
                found.setdefault(str(each.predicate["by"]), each)
        return found

    def of_environment(self, evidence: Evidence) -> tuple[FoundPiece, ...]:
        """Return the approvals for this environment, and those that can't be read."""
        return tuple(
            each
            for each in evidence.of("approval")
            if each.statement is None or each.predicate.get("environment") == self.environment
        )

    def _vouched(self, by: str, signer: str) -> str:
        """Return why `signer` can't speak for `by`; empty where it can."""
        if not signer:
            return "nobody signed it"
        if by in self.trusted:
            return "" if signer == by else f"{by} has to sign it, and {signer} did"
        if signer in self.settings.approvers:
            return f"{signer}, who approves for themselves, can't vouch for {by}"
        return self.stranger(signer)


def _future(found: FoundPiece, now: datetime) -> str:
    """Return how a piece is from the future; empty where it isn't."""
    if found.created <= now + SKEW:
        return ""
    return f"it is from the future: {found.created:%Y-%m-%d %H:%M:%S} UTC"
