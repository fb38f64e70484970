"""From the load client's records of requests to the block that the gate compares."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ci.bench.records import ErrorKind, RequestRecord
from ci.errors import BadAnswer
from ci.gate.blocks import Answer, BlockResult

_OURS = {ErrorKind.CLIENT, ErrorKind.ABANDONED}


def block_of(url: str, records: Sequence[RequestRecord], asked: int) -> BlockResult:
    """Return what the requests of one block say.

    Args:
        url: The server that was asked.
        records: One record a request.
        asked: How many requests there should have been.

    Raises:
        BadAnswer: The server answered not a single one, and that was its own doing.
    """
    kinds = Counter(record.error for record in records if record.error)
    failed = kinds.total()
    if failed:
        most = kinds.most_common(1)[0][0]
        detail = next(record.detail for record in records if record.error is most)
        why = f"{most}: {detail}" if detail else str(most)
        if failed == len(records) and not _OURS & set(kinds):
            raise BadAnswer(url, f"none of {failed} requests was answered: {why}")
        return BlockResult({}, problem=f"{failed} of {asked} requests failed: {why}")
    if len(records) != asked:
        return BlockResult({}, problem=f"{len(records)} requests were made, {asked} asked for")
    answers = tuple(_answer(record) for record in sorted(records, key=lambda each: each.index))
    return BlockResult(_metrics(records), answers if any(answers) else ())


def _answer(record: RequestRecord) -> Answer:
    return record.output_ids or record.output


def _metrics(records: Sequence[RequestRecord]) -> dict[str, tuple[float, ...]]:
    times = {
        "ttft": [record.ttft for record in records],
        "tpot": [record.tpot for record in records],
        "e2e": [record.e2e for record in records],
    }
    return {
        metric: tuple(time for time in found if time is not None) for metric, found in times.items()
    }
