"""Blocks measured by the load client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

from ci.bench.arrival import arrival_case
from ci.bench.options import BenchOptions
from ci.bench.schedule import Load
from ci.bench.session import LoadSession, Measured, open_session
from ci.errors import BadAnswer
from ci.gate.blocks import Block, BlockResult
from ci.gate.requests import block_of
from ci.verdict import Outcome


@asynccontextmanager
async def loaded(options: BenchOptions, load: Load) -> AsyncIterator[Block]:
    """Yield a block that puts a server under `load`; a server is warmed up when first seen.

    Args:
        options: How servers are asked; its loads and its ramp don't matter.
        load: The load of one block.
    """
    sessions: dict[str, LoadSession] = {}
    async with AsyncExitStack() as stack:

        async def measure(url: str, seed: int) -> BlockResult:
            if url not in sessions:
                session = await stack.enter_async_context(open_session(url, options))
                await session.warm_up(load, f"warm-up of {url}")
                sessions[url] = session
            measured = await sessions[url].measure(load, f"block {seed}")
            result = block_of(url, measured.run.records, measured.run.asked)
            return replace(result, problem=result.problem or _problem(url, sessions[url], measured))

        yield measure


def _problem(url: str, session: LoadSession, measured: Measured) -> str:
    """Return why a block whose requests succeeded can't be used; empty where it can.

    Raises:
        BadAnswer: The server was restarted or replaced.
    """
    who = session.watched.case()
    if who.outcome is Outcome.FAILED:
        raise BadAnswer(url, who.message)
    arrival = arrival_case(measured.run.records, measured.run.effort)
    unsure = [one.message for one in (who, arrival) if one.outcome is Outcome.INCONCLUSIVE]
    return "; ".join((*measured.saturated, *unsure))
