"""Blocks of the load client, against a server of known timing."""

from __future__ import annotations

import statistics
from dataclasses import replace

import anyio
import pytest

from ci.bench.dialects import Sampling
from ci.bench.lengths import Lengths
from ci.bench.options import BenchOptions, WarmUp
from ci.bench.prompts import SyntheticPrompts
from ci.bench.saturation import SaturationBounds
from ci.bench.schedule import Closed
from ci.errors import ServerFault
from ci.gate.compare import compare
from ci.gate.loaded import loaded
from ci.verdict import Verdict
from tests.fakes.faulty import closed_port
from tests.fakes.timed import Timed, Timing
from tests.unit.gate_samples import QUICK

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

HANG = 180.0
LOAD = Closed(concurrency=2, requests=4)
OPTIONS = BenchOptions(
    prompts=SyntheticPrompts(output=Lengths.parse("4")),
    sampling=Sampling(keep_outputs=True),
    warm_up=WarmUp(requests=4, seconds=5),
    bounds=SaturationBounds(cpu_share=9, lag=9, delay=9),
    poll=0,
)


async def test_a_block_is_what_the_server_did() -> None:
    """A block has other requests than were asked for, or equal seeds have unequal prompts."""
    with Timed(Timing(ttft=0.02, itl=0.005)) as server, anyio.fail_after(HANG):
        async with loaded(OPTIONS, LOAD) as block:
            results = [await block(server.url, seed) for seed in (1, 1, 2)]
        prompts = [truth.prompt for truth in server.truth()][-12:]
    assert all(len(result.metrics["ttft"]) == LOAD.requests for result in results)
    assert all(statistics.median(result.metrics["ttft"]) >= 0.02 for result in results)
    assert all(result.answers and not result.problem for result in results)
    assert sorted(prompts[:4]) == sorted(prompts[4:8])
    assert not set(prompts[:4]) & set(prompts[8:])


async def test_a_saturated_client_makes_the_block_unusable() -> None:
    """A machine that is too slow for the load is taken for a slow server."""
    options = replace(OPTIONS, bounds=replace(OPTIONS.bounds, cpu_share=1e-9))
    with Timed(Timing(ttft=0.02, itl=0.005)) as server, anyio.fail_after(HANG):
        async with loaded(options, LOAD) as block:
            assert (await block(server.url, 1)).problem


@pytest.mark.long
async def test_a_gate_on_the_load_client_finds_a_slow_server() -> None:
    """The gate and the load client don't fit together."""
    fast, slow = Timing(ttft=0.01, itl=0.002), Timing(ttft=0.15, itl=0.03)
    with Timed(fast) as old, Timed(slow) as new, anyio.fail_after(HANG):
        async with loaded(OPTIONS, LOAD) as block:
            found = await compare(block, old.url, new.url, QUICK)
    assert found.verdict is Verdict.FAILED
    assert len(found.pairs) >= QUICK.schedule.pairs
    assert found.agreement.compared == LOAD.requests * len(found.pairs)


async def test_a_server_that_is_gone_is_broken() -> None:
    """A dead candidate is inconclusive."""
    async with loaded(OPTIONS, LOAD) as block:
        with pytest.raises(ServerFault):
            await block(f"http://127.0.0.1:{closed_port()}", 1)
