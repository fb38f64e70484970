"""What a command wants of a deployment: a release, and the way traffic gets to it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ci.deploy.world import WHOLE, Release
from ci.errors import UsageError


class StrategyName(StrEnum):
    """How a release takes the place of another."""

    REPLACE = "replace"
    """One copy at a time, for one GPU: the old one ends before the new one starts."""
    BLUE_GREEN = "blue-green"
    """Both run; all traffic moves at once, and the old one ends after the watch."""
    CANARY = "canary"
    """Both run; traffic moves by stages, each with a watch."""


@dataclass(frozen=True)
class Stage:
    """One stage of a shift.

    Args:
        share: The candidate's share, of 100.
        seconds: How long it is watched there at least; 0 without a gate: not at all.
        gate: Whether a person has to agree before the next stage.
    """

    share: int
    seconds: float = 0
    gate: bool = False


ALL_AT_ONCE = (Stage(WHOLE),)
"""The stages of a shift without a watch."""


@dataclass(frozen=True)
class Wanted:
    """What is wanted.

    Args:
        release: What is to run alone; with an empty `deployment` any of its digest will do.
            None is an abort: keep what is proven and had traffic.
        strategy: How it gets there.
        stages: The stages of its shift, in rising order, the last with all traffic. Ignored by
            `replace`, which has nothing to shift back to.
        back: Whether this is a way back, a roll-back: all traffic moves at once, without a watch.
        rejected: Of an abort: the release that is kept only where no other one is proven.
        approved: At this share and at lower ones a person has agreed already: gates are open,
            and a watch that saw too little traffic is gone on from.
        grace: Seconds that a slot's open requests have to come to their end.
        stop_grace: Seconds between SIGTERM and SIGKILL of a server that was drained.

    Raises:
        UsageError: The stages don't rise, or don't end with all traffic.
    """

    release: Release | None
    strategy: StrategyName = StrategyName.BLUE_GREEN
    stages: tuple[Stage, ...] = ALL_AT_ONCE
    back: bool = False
    rejected: Release | None = None
    approved: int = 0
    grace: float = 600
    stop_grace: float = 60

    def __post_init__(self) -> None:
        """Refuse stages that lead nowhere."""
        shares = [stage.share for stage in self.stages]
        if shares != sorted({*shares}) or not shares or shares[0] < 1 or shares[-1] != WHOLE:
            raise UsageError(f"stages {shares}: shares have to rise from at least 1 to {WHOLE}")
        if self.strategy is StrategyName.BLUE_GREEN and len(shares) > 1:
            raise UsageError(f"blue-green has one stage, {WHOLE}: stages {shares} are a canary's")
