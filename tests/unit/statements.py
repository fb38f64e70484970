"""Statements and digests, for the tests of what is said about releases."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from ci.registry.reference import Reference
from ci.release.kinds import KINDS
from ci.release.statement import make

NOW = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)
DIGEST = f"sha256:{'a1' * 32}"
IMAGE = Reference.parse("registry.example:5000/team/image:1.0-abc").at(DIGEST)


def approval(**more: Any) -> bytes:
    """Return a statement: an approval."""
    return make(
        IMAGE,
        KINDS["approval"].predicate_type,
        {"created": NOW.isoformat(), "environment": "prod"} | more,
    )
