"""What the smoke check is asked to run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ci import SGLANG


@dataclass(frozen=True)
class SmokeOptions:
    """What to run, and how long it may take.

    Attributes:
        directories: The user's own folders or files of cases.
        select: pytest's `-k` expression; empty for all cases.
        timeout: Most seconds that one request may take.
        budget: Most seconds of the whole check.
        builtin: Whether the suite of this package runs.
        engine: Name of the engine's profile.
    """

    directories: tuple[Path, ...] = ()
    select: str = ""
    timeout: float = 30.0
    budget: float = 600.0
    builtin: bool = True
    engine: str = SGLANG
