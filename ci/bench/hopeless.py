"""Loads of which no request is answered: when to give up, and who is to blame."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ci.bench.records import ErrorKind, RequestRecord

FEW = 8
"""Requests that have to fail, with none answered, before no more are sent."""

_OURS = {ErrorKind.CLIENT, ErrorKind.ABANDONED}


def hopeless(records: Sequence[RequestRecord]) -> bool:
    """Return whether so many requests failed, and none was answered, that more make no sense."""
    return len(records) >= FEW and not any(record.complete for record in records)


def server_fault(records: Sequence[RequestRecord]) -> str:
    """Return why none of the requests was answered, where that is the server's doing.

    It may not be where this machine failed, or where the server refuses all that is asked: a
    prompt that is too long for it is no fault of its own.
    """
    kinds = Counter(record.error for record in records)
    if not records or None in kinds or _OURS & set(kinds) or all(map(_refused, records)):
        return ""
    most = kinds.most_common(1)[0][0]
    detail = next(record.detail for record in records if record.error is most)
    return f"none of {len(records)} requests was answered: {most}: {detail}"


def _refused(record: RequestRecord) -> bool:
    """Return whether the server gave a reason, by status or, in a stream, in an event."""
    by_status = record.status is not None and 400 <= record.status < 500  # noqa: PLR2004
    return by_status or record.error is ErrorKind.STREAM
