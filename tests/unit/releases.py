"""A release in a fake registry, with people who sign: what tests of a policy start from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from ci.registry.client import Registry
from ci.registry.oci import EMPTY, EMPTY_CONTENT, MANIFEST, Descriptor, Manifest, canonical
from ci.release import approval, promotion
from ci.release.evidence.record import record
from ci.release.found import Evidence
from ci.release.history import HistoryLine, HistoryReader
from ci.release.judge import Judge
from ci.release.policy import Policy
from ci.release.signing import KeySigner, NoSigner, Signer, Trust, new_key
from ci.release.store import attach, evidence_of, sign
from ci.release.verify import verify
from ci.release.where import Where
from ci.report.model import Case, Check, Report
from ci.settings import Settings
from ci.verdict import Outcome
from tests.fakes.registry import FakeRegistry, fake_registry

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
PEOPLE = ("ci", "ada", "bob", "eve")
"""Who has a key; `eve` isn't trusted."""
WHERE = {"actor": "ci-bot", "where_url": "https://ci.example/run/1", "system": "ci", "commit": ""}
ENVIRONMENTS: dict[str, dict[str, Any]] = {
    "test": {"signers": ["ci"]},
    "prod": {
        "signers": ["ci"],
        "approvals": 2,
        "approvers": ["ada", "bob", "carol"],
        "max_age_days": 7,
        "after": "test",
    },
}


@cache
def key(name: str) -> tuple[str, str]:
    """Return the private and the public key of somebody."""
    return new_key()


def signer(name: str) -> Signer:
    """Return what signs as somebody; nobody where `name` is empty."""
    return KeySigner(key(name)[0]) if name else NoSigner()


def settings(**environments: Mapping[str, Any]) -> Settings:
    """Return settings that trust all but eve; `environments` replace the usual ones' keys."""
    merged = {name: {**ENVIRONMENTS.get(name, {}), **keys} for name, keys in environments.items()}
    keys = {name: key(name)[1] for name in PEOPLE if name != "eve"}
    return Settings.model_validate(
        {"trust": {"keys": keys}, "environments": {**ENVIRONMENTS, **merged}}
    )


def image(name: str = "image") -> Manifest:
    """Return an image's manifest; another name makes another digest."""
    content = canonical(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": Descriptor.of(EMPTY, EMPTY_CONTENT).to_dict(),
            "layers": [],
            "annotations": {"name": name},
        }
    )
    return Manifest(Descriptor.of(MANIFEST, content), content)


def report(created: datetime = NOW, **outcomes: Outcome) -> dict[str, Any]:
    """Return the report of three checks that PASSED; `outcomes` are those of others."""
    named = dict.fromkeys(("readiness", "versions", "smoke"), Outcome.PASSED) | outcomes
    checks = tuple(
        Check(name=name, started=created, seconds=1, cases=(Case(name="x", outcome=outcome),))
        for name, outcome in named.items()
    )
    made = Report(started=created - timedelta(minutes=1), finished=created, checks=checks)
    found: dict[str, Any] = made.model_dump(mode="json")
    return found


@dataclass
class Release:
    """One image in a registry, and everything that is said about it."""

    fake: FakeRegistry
    registry: Registry
    settings: Settings
    image: Manifest = field(default_factory=image)

    @property
    def trust(self) -> Trust:
        """Whose signatures are known."""
        return Trust.of(self.settings.trust)

    def policy(self, environment: str = "prod") -> Policy:
        """Return an environment's policy."""
        return Policy.of(self.settings, environment)

    def other(self, name: str) -> Release:
        """Return another image beside this one."""
        made = replace(self, image=image(name))
        made.store()
        return made

    def store(self) -> None:
        """Put the image into the registry."""
        self.fake.blobs[Descriptor.of(EMPTY, EMPTY_CONTENT).digest] = EMPTY_CONTENT
        self.fake.put(MANIFEST, self.image.content)

    def attest(
        self,
        kind: str,
        predicate: Mapping[str, Any],
        by: str = "ci",
        about: Manifest | None = None,
    ) -> str:
        """Attach a statement, and return its bundle's digest.

        Args:
            kind: What it is.
            predicate: What it says.
            by: Who signs.
            about: The image that it names, where that isn't the one it is attached to.
        """
        named = self.registry.reference.at((about or self.image).descriptor.digest)
        signed = sign(named, kind, predicate, signer(by))
        attach(self.registry, self.image.descriptor, signed)
        return Descriptor.of("", signed.bundle).digest

    def prove(self, by: str = "ci", created: datetime = NOW, **outcomes: Outcome) -> str:
        """Attach a report and a record that names it; return the report's bundle's digest."""
        told = report(created, **outcomes)
        bundle = self.attest("report", told, by)
        self.record(told, by, created, report=bundle)
        return bundle

    def record(
        self,
        told: Mapping[str, Any] | None = None,
        by: str = "ci",
        created: datetime = NOW,
        **evidence: str,
    ) -> str:
        """Attach a record of a report that names bundles; return its own bundle's digest."""
        made = record(
            self.registry.reference.at(self.image.descriptor.digest),
            Report.model_validate(told) if told else None,
            Where(**WHERE),
            created,
            inputs={},
            versions={"sglang": "0.5.23"},
            evidence=evidence,
        )
        return self.attest("record", made.predicate(), by)

    def approve(
        self,
        by: str,
        environment: str = "prod",
        signed_by: str = "",
        created: datetime = NOW,
        about: Manifest | None = None,
    ) -> None:
        """Attach an approval, whether it counts or not."""
        said = approval.statement_of(environment, by, WHERE, created)
        self.attest("approval", said, signed_by or by, about)

    def evidence(self) -> Evidence:
        """Return all evidence."""
        return evidence_of(self.registry, self.image.descriptor, self.trust)

    def judge(self, now: datetime = NOW) -> Judge:
        """Return what judges the image."""
        return Judge(self.registry, self.image, self.settings, self.trust, now)

    def deployed(
        self,
        outcome: str,
        at: datetime,
        by: str = "ci",
        environment: str = "test",
        **more: str,
    ) -> None:
        """Attach the record of a deployment."""
        said = {"created": at.isoformat(), "environment": environment, "outcome": outcome, **more}
        self.attest("deployment", said, by)

    def verify(
        self, environment: str = "prod", now: datetime = NOW, *, been_before: bool = True
    ) -> Check:
        """Hold the evidence against an environment's policy."""
        return verify(self.evidence(), self.policy(environment), now, been_before=been_before)

    def reader(self, environment: str = "prod") -> HistoryReader:
        """Return the history of an environment."""
        return HistoryReader(self.registry, self.policy(environment), self.trust)

    def promote(
        self,
        environment: str = "prod",
        by: str = "ci",
        now: datetime = NOW,
        *,
        rollback: bool = False,
    ) -> HistoryLine:
        """Promote the image, whatever the policy says."""
        plan = promotion.plan(self.reader(environment), self.image, rollback=rollback)
        return promotion.carry_out(plan, signer(by), WHERE, now)


def problems(check: Check) -> dict[str, str]:
    """Return name and message of the cases that keep a check from passing."""
    good = {Outcome.PASSED, Outcome.SKIPPED}
    return {case.name: case.message for case in check.cases if case.outcome not in good}


def skipped(check: Check) -> list[str]:
    """Return the messages of what did not count."""
    return [case.message for case in check.cases if case.outcome is Outcome.SKIPPED]


@contextmanager
def released(chosen: Settings | None = None, **features: Any) -> Iterator[Release]:
    """Yield an image without evidence in a fake registry with these features."""
    with fake_registry(**features) as fake, Registry(fake.reference(), fake.access) as registry:
        made = Release(fake, registry, chosen or settings())
        made.store()
        yield made


def there(release: Release, environment: str = "prod") -> str:
    """Return the digest under an environment's tag."""
    return release.fake.tags[environment]


def digests(release: Release) -> list[str]:
    """Return the digests of the history of production, the newest first."""
    lines = list(release.reader().lines())
    assert not [line.problem for line in lines if line.problem]
    return [line.digest for line in lines]
