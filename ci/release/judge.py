"""A digest in a registry, read once and judged for its environments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING

from ci.release.found import Evidence
from ci.release.history import HistoryLine, HistoryReader, was_there
from ci.release.policy import Policy
from ci.release.stay import longest
from ci.release.store import evidence_of
from ci.release.verify import NEVER, verify

if TYPE_CHECKING:
    from ci.registry.client import Registry
    from ci.registry.oci import Manifest
    from ci.registry.reference import Reference
    from ci.release.signing import Trust
    from ci.report.model import Check
    from ci.settings import Settings


@dataclass(frozen=True)
class Judge:
    """Judges one digest by the settings.

    Args:
        registry: The repository that holds it.
        image: Its manifest.
        settings: The settings in force.
        trust: Whose signatures are known.
        now: The time, UTC.
        read: Environment to its history, where it was read already.
    """

    registry: Registry
    image: Manifest
    settings: Settings
    trust: Trust
    now: datetime
    read: Mapping[str, Sequence[HistoryLine]] = field(default_factory=dict)

    @property
    def reference(self) -> Reference:
        """The image, by its digest."""
        return self.registry.reference.at(self.image.descriptor.digest)

    @cached_property
    def evidence(self) -> Evidence:
        """All that is attached to it; raises RegistryFault where that can't be asked."""
        return evidence_of(self.registry, self.image.descriptor, self.trust)

    def reader(self, environment: str) -> HistoryReader:
        """Return the history of an environment; raises UsageError where there is none such."""
        return HistoryReader(self.registry, Policy.of(self.settings, environment), self.trust)

    def check(self, environment: str, *, rollback: bool = False) -> Check:
        """Return the check that says whether the digest may go to an environment.

        Args:
            environment: Its name.
            rollback: Whether it goes back to what was there before, which may be of any age.

        Raises:
            UsageError: There is no environment of that name.
            RegistryFault: The registry can't be asked.
        """
        policy = Policy.of(self.settings, environment)
        before, digest = policy.settings.after, self.image.descriptor.digest
        policy = policy.for_rollback() if rollback else policy
        been_before = bool(before) and was_there(digest, self._lines(before))
        stayed = self._stayed(policy) if policy.settings.after_hours else NEVER
        return verify(self.evidence, policy, self.now, been_before=been_before, stayed=stayed)

    def _stayed(self, policy: Policy) -> timedelta:
        """Return for how long it was deployed in the environment that has to come first."""
        before = policy.settings.after
        deployments = [
            piece
            for piece in self.evidence.of("deployment")
            if piece.predicate.get("environment") == before and not policy.doubt(piece, self.now)
        ]
        digest = self.image.descriptor.digest
        return longest(deployments, self._lines(before), digest, self.now)

    def _lines(self, environment: str) -> Iterable[HistoryLine]:
        known = self.read.get(environment)
        return self.reader(environment).lines() if known is None else known
