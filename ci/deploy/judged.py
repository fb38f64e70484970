"""What the runner of a deployment is told by proofs, watches and people."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum

from ci.verdict import Verdict


@dataclass(frozen=True)
class Judged:
    """How a step ended.

    Args:
        verdict: PASSED where it did what it should.
        cause: Why it didn't, or what is worth telling, in one line.
    """

    verdict: Verdict = Verdict.PASSED
    cause: str = ""


ProveSlot = Callable[[str, str], Awaitable[Judged]]
"""Puts the questions to the server of a slot, by the slot's name and `host:port`."""
WatchSlot = Callable[[str, int, float], Awaitable[Judged]]
"""Judges a slot's traffic: its name, its share of 100, and for how many seconds at least."""


class Reply(StrEnum):
    """What a person says to a question of a deployment."""

    GO_ON = "go on"
    GO_BACK = "go back"
    LATER = "later"
    """Nobody is there to answer: the deployment pauses as it is."""


Ask = Callable[[str], Awaitable[Reply]]
"""Puts a question to a person; it may wait as long as it likes."""


async def nobody(question: str) -> Reply:  # noqa: ARG001 - nobody is asked
    """Answer for a person where there is none."""
    return Reply.LATER
