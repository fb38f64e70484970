"""Blocks measured by the load client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

from ci.bench.options import BenchOptions
from ci.bench.schedule import Load
from ci.bench.session import Session, open_session
from ci.gate.blocks import Block, BlockResult
from ci.gate.requests import block_of


@asynccontextmanager
async def loaded(options: BenchOptions, load: Load) -> AsyncIterator[Block]:
    """Yield a block that puts a server under `load`; a server is warmed up when first seen.

    Args:
        options: How servers are asked; its loads and its ramp don't matter.
        load: The load of one block.
    """
    sessions: dict[str, Session] = {}
    async with AsyncExitStack() as stack:

        async def measure(url: str, seed: int) -> BlockResult:
            if url not in sessions:
                session = await stack.enter_async_context(open_session(url, options))
                await session.warm_up(load, f"warm-up of {url}")
                sessions[url] = session
            measured = await sessions[url].measure(load, f"block {seed}")
            result = block_of(url, measured.run.records, measured.run.asked)
            limits = "; ".join(measured.saturated)
            return replace(result, problem=result.problem or limits)

        yield measure
