"""Approval: somebody's word that a digest may go to an environment.

It is bound to that digest and that environment. A name of [trust] signs its approval itself;
for any other approver a signer of the environment vouches, such as the CI after its own
protected step, and pages say so.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ci.errors import UsageError
from ci.release.store import attach, sign

if TYPE_CHECKING:
    from ci.release.judge import Judge
    from ci.release.signing import Signer


def approve(judge: Judge, environment: str, signer: Signer, predicate: Mapping[str, Any]) -> bool:
    """Attach an approval; return False where that person's approval counts already.

    Args:
        judge: Of the digest that is approved.
        environment: Where it may go to.
        signer: Who signs.
        predicate: What `statement_of` made.

    Raises:
        UsageError: There is no such environment; or the approval would not count in it, and
            was not attached.
        SigningFault: The key or token can't sign.
        RegistryFault: The registry did not take it.
    """
    policy, image = judge.reader(environment).policy, judge.image.descriptor
    signed = sign(judge.registry.reference.at(image.digest), "approval", predicate, signer)
    doubt = policy.approval_doubt(signed.opened(judge.trust), judge.now)
    if doubt:
        raise UsageError(f"this approval would not count in {environment}: {doubt}")
    if predicate["by"] in policy.approvals(judge.evidence, judge.now):
        return False
    attach(judge.registry, image, signed)
    return True


def statement_of(
    environment: str, by: str, where: Mapping[str, Any], now: datetime, comment: str = ""
) -> dict[str, Any]:
    """Return what an approval says: who, for which environment, from where, and why."""
    return {
        "created": now.isoformat(),
        "environment": environment,
        "by": by,
        "comment": comment,
        "where": dict(where),
    }
