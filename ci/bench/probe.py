"""One request before all others, so that a server which can't answer it costs seconds.

A load would tell the same after minutes: each of its requests may wait for its first token.
"""

from __future__ import annotations

from dataclasses import replace
from time import monotonic

from ci.bench.client import Client, LoadRequest, Timeouts
from ci.bench.dialects import Api
from ci.bench.prompts import Prompt
from ci.bench.records import ErrorKind, RequestRecord
from ci.bench.target import BenchTarget
from ci.errors import BadAnswer, CheckBroken, SglangCiError, Unreachable, Unresponsive
from ci.server.faults import refusal

_TRIES = 3
_QUICK = 1.0
"""Seconds until a failure that may be one of the moment; what takes longer isn't repeated."""
_PROMPT = Prompt(output_tokens=2, text="Hello")
_SILENT = {ErrorKind.LATE, ErrorKind.STALLED}
_APART = {ErrorKind.REFUSED, ErrorKind.CONNECT, ErrorKind.CONNECT_TIMEOUT, ErrorKind.RESET}


async def probe(target: BenchTarget, api: Api, timeouts: Timeouts, seconds: float) -> None:
    """Have the server answer a short request; one that fails at once is sent twice more.

    Args:
        target: The server.
        api: What is asked.
        timeouts: Limits of a request under load.
        seconds: Most seconds until the first token, and between two.

    Raises:
        ServerFault: It doesn't answer, or with something else than a whole stream.
        KeyRefused: It wants another API key.
        CheckBroken: This machine can't ask it.
    """
    limits = replace(
        timeouts,
        first_token=min(seconds, timeouts.first_token),
        stall=min(seconds, timeouts.stall),
    )
    content = target.post(api.path, api.body(_PROMPT))
    async with Client(target, api, limits) as client:
        for _ in range(_TRIES):
            record = await client.ask(LoadRequest(0, content, _PROMPT.output_tokens), monotonic())
            if record.complete or record.error is ErrorKind.EMPTY:
                return
            if record.ended > _QUICK:
                break
    raise _fault(f"{target.url}{api.path}", record, target.key)


def _fault(url: str, record: RequestRecord, key: str) -> SglangCiError:
    """Return the error of a request that failed."""
    problem = f"a first request, sent alone, failed: {record.error}: {record.detail}"
    if refused := refusal(url, record.status or 0, record.detail.partition(": ")[2], key):
        return refused
    if record.error is ErrorKind.CLIENT:
        return CheckBroken(f"{url}: {problem}")
    if record.error in _APART:
        return Unreachable(url, problem, refused=record.error is ErrorKind.REFUSED)
    if record.error in _SILENT:
        return Unresponsive(url, problem)
    return BadAnswer(url, problem, status=record.status)
