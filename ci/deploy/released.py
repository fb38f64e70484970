"""What is to run in an environment: what its tag in the registry names, or what is here."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from ci.deploy.world import Release
from ci.errors import UsageError
from ci.release import promotion
from ci.release.evidence.report import KIND as REPORT
from ci.release.evidence.report import read
from ci.release.judge import Judge
from ci.release.session import RepositorySession
from ci.report.model import Check, Report
from ci.settings import Settings
from ci.verdict import Verdict


@dataclass(frozen=True)
class Released:
    """A digest that an environment's tag names, and whether it may run there.

    Args:
        release: What is to run.
        policy: The environment's policy, held against the evidence on the digest.
        rollback: Whether it is what an environment was rolled back to.
        report: What was measured of it; None where no such evidence is on the digest.
    """

    release: Release
    policy: Check
    rollback: bool = False
    report: Report | None = None


def current(session: RepositorySession, environment: str) -> Released:
    """Return what an environment's tag names now.

    Raises:
        MissingArtifact: Nothing was ever promoted there.
        BrokenArtifact: Its tag and its history disagree.
    """
    line = session.reader(environment).current()
    judge = session.judge(line.digest)
    policy = judge.check(environment, rollback=line.rollback)
    return Released(_release(session, judge), policy, line.rollback, _report(judge))


def _release(session: RepositorySession, judge: Judge) -> Release:
    digest = judge.image.descriptor.digest
    return Release(
        digest=digest,
        reference=str(session.registry.reference.at(digest)),
        version=_version(judge),
    )


def _report(judge: Judge) -> Report | None:
    return next(filter(None, map(read, judge.evidence.of(REPORT.name))), None)


def _version(judge: Judge) -> str:
    """Return the SGLang version that the release record names; empty where there is none."""
    for piece in judge.evidence.of("record"):
        versions = piece.predicate.get("versions")
        if isinstance(versions, dict) and isinstance(found := versions.get("sglang"), str):
            return found
    return ""


def promoted_back(session: RepositorySession, environment: str) -> Released:
    """Promote what was in an environment before, where its policy holds, and return it.

    Raises:
        MissingArtifact: Nothing was there before.
        UsageError: Promotions signed so don't count there.
        ConflictingWrite: Somebody else promoted at the same time.
    """
    before = session.reader(environment).previous()
    judge = session.judge(before.digest)
    plan = promotion.plan(judge.reader(environment), judge.image, rollback=True)
    policy = judge.check(environment, rollback=True)
    if policy.verdict is Verdict.PASSED:
        promotion.carry_out(plan, session.signer, session.where.to_dict(), session.now)
    return Released(_release(session, judge), policy, rollback=True)


def of_this_host(settings: Settings) -> Release:
    """Return what the settings would start here, as a release: without a registry.

    Its digest is that of the settings that a server is started by. Nobody has signed it.
    """
    parts = {
        name: getattr(settings, name).model_dump(mode="json")
        for name in ("image", "model", "server", "engine")
    }
    text = json.dumps(parts, sort_keys=True)
    digest = f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
    return Release(digest=digest, reference="", version=settings.image.sglang_version)


def refused(settings: Settings, environment: str) -> UsageError | None:
    """Return why an environment can't be deployed to without a registry; None where it can."""
    demands = settings.environments[environment]
    if demands.deploy.target == "container":
        return UsageError("containers run images: name their repository by registry.repository")
    if demands.approvals or demands.after:
        return UsageError(
            f"{environment} demands approvals or another environment first, which a registry "
            "keeps: name it by registry.repository"
        )
    return None
