"""What came of one stream."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Ending(StrEnum):
    """How a stream, or the request for it, ended."""

    GOOD = "good"
    """Whole: with a finish reason, of OpenAI's API with `[DONE]` too, and without an error."""
    FAILED = "failed"
    """No stream began: another status, another kind of answer, or none."""
    CUT = "cut"
    """A stream began and did not come to its end."""


@dataclass(frozen=True)
class StreamRecord:
    """One stream: one line of `traffic.jsonl`.

    Args:
        index: Its place in the schedule.
        api: `generate` or `chat`.
        at: When it was asked for, ISO 8601, UTC.
        started: The same, in seconds from the start of the traffic.
        seconds: From then to its end.
        ending: How it ended.
        why: What was wrong, in one line; empty where it is good.
        slot: The slot that answered, as the router names it; empty where nobody did.
        status: HTTP status; 0 where no answer began.
        ttft: Seconds to the first token; None where none came.
        events: Events that came.
        retried: Whether the router says that it asked more than once.
        slow: Whether the first token came later than is allowed.
    """

    index: int
    api: str
    at: str
    started: float
    seconds: float
    ending: Ending
    why: str = ""
    slot: str = ""
    status: int = 0
    ttft: float | None = None
    events: int = 0
    retried: bool = False
    slow: bool = False

    @property
    def ended(self) -> float:
        """Seconds from the start of the traffic to its end."""
        return self.started + self.seconds
