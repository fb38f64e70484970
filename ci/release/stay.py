"""How long a digest was deployed in an environment without an abort, by signed statements alone.

A stay begins with a `deployment` of the digest that came to rest. It ends with a promotion of
another digest, which may go out from then on. An abort, a deployment that was taken back and a
roll-back away from the digest undo all stays before them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ci.release.found import FoundPiece
    from ci.release.history import HistoryLine

AT_REST, TAKEN_BACK, ABORTED = "at rest", "taken back", "aborted"
"""How a deployment ended, as its statement says; anything else is neither good nor bad."""
SINCE = "at rest since"


class _Event(IntEnum):
    """What happens to a stay; of two things at one moment the later one here counts."""

    BEGINS = 0
    ENDS = 1
    UNDONE = 2


def longest(
    deployments: Iterable[FoundPiece], history: Iterable[HistoryLine], digest: str, now: datetime
) -> timedelta:
    """Return the longest stay of a digest, up to now.

    Args:
        deployments: Statements on the digest and the environment that are to be believed.
        history: The environment's promotions, the newest first.
        digest: The digest.
        now: The time, UTC.
    """
    most, since = timedelta(), None
    events = sorted([*_of_deployments(deployments), *_of_history(history, digest)])
    for at, event in events:
        if event is _Event.BEGINS:
            since = since or at
            continue
        most = max(most, at - since) if since and event is _Event.ENDS else most
        since = None
        if event is _Event.UNDONE:
            most = timedelta()
    return max(most, now - since) if since else most


def _of_deployments(pieces: Iterable[FoundPiece]) -> Iterator[tuple[datetime, _Event]]:
    for piece in pieces:
        outcome = piece.predicate.get("outcome")
        if outcome == AT_REST:
            yield _since(piece), _Event.BEGINS
        else:
            bad = outcome in {TAKEN_BACK, ABORTED}
            yield piece.created, _Event.UNDONE if bad else _Event.ENDS


def _since(piece: FoundPiece) -> datetime:
    """Return when a deployment came to rest, which is never after it was said."""
    try:
        told = datetime.fromisoformat(str(piece.predicate.get(SINCE)))
    except ValueError:
        return piece.created
    return min(told if told.tzinfo else told.replace(tzinfo=UTC), piece.created)


def _of_history(lines: Iterable[HistoryLine], digest: str) -> Iterator[tuple[datetime, _Event]]:
    believed = [line for line in lines if not line.problem]
    for line, before in pairwise([*believed, None]):
        if line is not None and line.digest != digest:
            away = line.rollback and before is not None and before.digest == digest
            yield line.created, _Event.UNDONE if away else _Event.ENDS
