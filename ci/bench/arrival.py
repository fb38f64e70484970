"""Whether answers come while they are made, or are held back on their way to the client.

Behind a proxy that buffers, TTFT is e2e, and TPOT is the proxy's.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from ci.bench.records import RequestRecord
from ci.bench.saturation import Effort, SaturationBounds, saturation
from ci.report.model import Case
from ci.verdict import Outcome

NAME = "answers come while they are made"
AT_ONCE = 4
"""Chunks that come together, on average over an answer, from which on it was held back."""
LEAST = 2 * AT_ONCE
"""Chunks of an answer below which a busy client may well read all of them at once."""
FASTEST = 0.0005
"""Seconds between two chunks below which no server is believed to have made them one by one."""
MOST, WHOLE = 0.5, 0.9
"""Share of answers that were held back, in part or until their end, from which on all are."""
BUSY = 0.1
"""Share of a load for which the client may have waited for a core."""


def arrival_case(records: Sequence[RequestRecord], effort: Effort) -> Case:
    """Judge whether a load's answers were held back.

    Args:
        records: The load's records.
        effort: What it cost the client, which reads late where it is short of CPU.
    """
    told = [one for one in records if one.complete and len(one.times) > 1]
    if not told:
        return _case(Outcome.SKIPPED, "no answer came in more than one piece, as far as is known")
    whole = sum(_pieces(one.times) == 1 for one in told) / len(told)
    held = sum(_held(one.times) for one in told) / len(told)
    if held <= MOST:
        return _case(Outcome.PASSED, f"{1 - held:.0%} of {len(told)} answers in pieces")
    short = sum(len(one.times) < LEAST for one in told) > len(told) / 2
    if (whole < WHOLE or short) and _busy(effort, records):
        return _case(Outcome.SKIPPED, "this client was too busy to read in time")
    problem = f"buffered: {held:.0%} of {len(told)} answers came at once, or in a few pieces"
    advice = "TTFT and TPOT aren't the server's; something before it holds streams back"
    return _case(Outcome.INCONCLUSIVE, f"{problem}; {advice}")


def _held(times: Sequence[float]) -> bool:
    """Return whether an answer's chunks came several at a time."""
    return len(times) / _pieces(times) >= min(AT_ONCE, len(times))


def _pieces(times: Sequence[float]) -> int:
    """Return in how many pieces chunks came; those of one come faster than any are made."""
    usual = (times[-1] - times[0]) / (len(times) - 1)
    gap = max(FASTEST, usual / AT_ONCE)
    return 1 + sum(later - earlier > gap for earlier, later in pairwise(times))


def _busy(effort: Effort, records: Sequence[RequestRecord]) -> bool:
    waited = (effort.waited or 0.0) > BUSY * effort.seconds
    return waited or bool(saturation(effort, records, SaturationBounds()))


def _case(outcome: Outcome, message: str) -> Case:
    return Case(name=NAME, outcome=outcome, message=message)
