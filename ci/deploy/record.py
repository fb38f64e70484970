"""The record of a deployment: a signed statement, attached to the digest that went out."""

from __future__ import annotations

from typing import Any

from ci.deploy.world import Release
from ci.release.session import RepositorySession
from ci.release.stay import SINCE
from ci.release.store import attach, sign
from ci.report.model import Case, Check, Figure, now
from ci.stages import StageResult, Tell
from ci.verdict import Outcome

NAME = "record"
NEEDS = "SIGNING_KEY or SIGSTORE_ID_TOKEN, to sign it"
KIND = "deployment"


def predicate_of(
    environment: str, check: Check, where: dict[str, str], outcome: str = ""
) -> dict[str, Any]:
    """Return what a record says: where to, how it ended, steps with their times, by whom.

    Args:
        environment: Where it went.
        check: What the deployment found.
        where: Who deployed, and from where.
        outcome: How it ended for the digest, where that isn't what the deployment found.
    """
    since = check.facts.get(SINCE)
    steps: list[dict[str, Any]] = [
        {"step": one.name, "after": round(one.start, 3), "seconds": round(one.seconds, 3)}
        for one in check.phases
    ]
    return {
        "created": now().isoformat(),
        "environment": environment,
        "outcome": outcome or check.facts.get("outcome", ""),
        **({SINCE: since} if since and not outcome else {}),
        "verdict": check.verdict.value,
        "cause": check.cause,
        "started": check.started.isoformat(),
        "seconds": max((one["after"] + one["seconds"] for one in steps), default=0.0),
        "steps": steps,
        "figures": {one.name: _numbers(one) for one in check.figures},
        "findings": {case.name: f"{case.outcome}: {case.message}" for case in check.cases},
        "at the end": check.facts.get("at the end", ""),
        "where": where,
    }


def _numbers(figure: Figure) -> dict[str, float | str]:
    """Return a figure's value, its unit and its bounds, those that it has."""
    told: dict[str, float | str | None] = {
        "value": figure.value,
        "unit": figure.unit or None,
        "low": figure.low,
        "high": figure.high,
    }
    return {name: value for name, value in told.items() if value is not None}


def keep(
    session: RepositorySession,
    release: Release,
    environment: str,
    check: Check,
    tell: Tell,
    outcome: str = "",
) -> StageResult:
    """Sign the record, and attach it to the digest.

    Raises:
        SigningFault: The key or token can't sign.
        RegistryFault: The registry did not take it.
    """
    predicate = predicate_of(environment, check, session.where.to_dict(), outcome)
    reference = session.registry.reference.at(release.digest)
    signed = sign(reference, KIND, predicate, session.signer)
    image = session.registry.manifest(release.digest).descriptor
    artifact = attach(session.registry, image, signed)
    told = f"{len(check.phases)} steps, attached to {reference}"
    tell(Case(name="the deployment is recorded", outcome=Outcome.PASSED, message=told))
    return StageResult(facts={"record": artifact.digest})
