"""All kinds of statements by their names: evidence, a module each, and what people do with it."""

from __future__ import annotations

import pkgutil
from importlib import import_module

from ci.release import evidence
from ci.release.kind import EvidenceKind


class Approval(EvidenceKind):
    """Somebody's word that a digest may go to an environment."""

    name = "approval"
    predicate_type = "urn:sglang-ci:approval:1"


class Promotion(EvidenceKind):
    """One line of an environment's history."""

    name = "promotion"
    predicate_type = "urn:sglang-ci:promotion:1"


class Deployment(EvidenceKind):
    """How a digest went out to an environment, step by step, and how that ended."""

    name = "deployment"
    predicate_type = "urn:sglang-ci:deployment:1"


def _evidence() -> tuple[EvidenceKind, ...]:
    names = [module.name for module in pkgutil.iter_modules(evidence.__path__)]
    kinds = [import_module(f"{evidence.__name__}.{name}").KIND for name in names]
    return tuple(sorted(kinds, key=lambda kind: (kind.order, kind.name)))


EVIDENCE = {kind.name: kind for kind in _evidence()}
"""The kinds that a publication has and an environment may demand, in the order of making."""
KINDS: dict[str, EvidenceKind] = {
    kind.name: kind for kind in (*EVIDENCE.values(), Approval(), Promotion(), Deployment())
}
"""All of them, by the names that settings and messages use."""


def of_type(predicate_type: str) -> EvidenceKind | None:
    """Return the kind of a predicate; None for a foreign one."""
    return next((kind for kind in KINDS.values() if kind.predicate_type == predicate_type), None)
