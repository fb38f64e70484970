"""When two versions are the same."""

from __future__ import annotations

from packaging.version import InvalidVersion, Version


def same(one: str, other: str) -> bool:
    """Return whether two versions are equal in the sense of PEP 440; never for two that aren't."""
    try:
        return Version(one) == Version(other)
    except InvalidVersion:
        return one == other
