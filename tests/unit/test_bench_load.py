"""Load shapes: what is under way at any time, and when requests start."""

from __future__ import annotations

import asyncio
import gc
import itertools
import statistics
from time import monotonic
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ci.bench.client import Client, LoadRequest
from ci.bench.load import LoadRun, run_load
from ci.bench.records import ErrorKind, RequestRecord
from ci.bench.schedule import Closed, Load, Open
from ci.errors import UsageError
from tests.unit.bench_samples import record

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

REQUESTS = [LoadRequest(index, b"", 1) for index in range(100)]
HANG = 60.0


class FakeClient:
    """A client whose answers take a set time, and never end where that is None."""

    def __init__(self, seconds: float | None = 0.01) -> None:
        """Take the time of an answer."""
        self.seconds, self.now, self.most, self.warmed = seconds, 0, 0, 0
        self.given_up: asyncio.Event | None = None
        self.collecting: list[bool] = []

    async def warm(self, count: int) -> None:
        """Note how many connections are wanted."""
        self.warmed = count

    async def ask(
        self, request: LoadRequest, origin: float, intended: float | None
    ) -> RequestRecord:
        """Wait for the time of an answer."""
        started = monotonic() - origin
        self.collecting.append(gc.isenabled())
        self.now += 1
        self.most = max(self.most, self.now)
        self.given_up = self.given_up or asyncio.Event()
        if self.seconds is None:
            await self.given_up.wait()
        else:
            await asyncio.sleep(self.seconds)
        self.now -= 1
        error = ErrorKind.ABANDONED if self.seconds is None else None
        ended = monotonic() - origin
        return record(
            request.index, started, ended - started, intended=intended, ended=ended, error=error
        )

    def abandon(self, why: str) -> None:  # noqa: ARG002 - the client's signature
        """End all answers."""
        assert self.given_up
        self.given_up.set()


async def run(
    client: FakeClient, load: Load, limit: float = HANG, stop_after: int = 1000
) -> LoadRun:
    """Run a load; it is ended after so many records."""
    count = itertools.count(1)
    async with asyncio.timeout(HANG):
        return await run_load(
            cast("Client", client), load, REQUESTS, limit, lambda _: next(count) >= stop_after
        )


async def test_a_closed_loop_keeps_its_concurrency() -> None:
    """More requests are under way than asked, or fewer, or one is sent twice."""
    client = FakeClient()
    found = await run(client, Closed(5, 40))
    assert client.most == 5
    assert client.warmed == 5
    assert sorted(one.index for one in found.records) == list(range(40))
    assert (found.asked, found.limited) == (40, False)
    assert {one.intended for one in found.records} == {None}


@pytest.mark.parametrize("arrivals", ["poisson", "constant"])
async def test_an_open_loop_does_not_wait_for_answers(arrivals: str) -> None:
    """A slow server is asked less often, which hides how slow it is."""
    client, load = FakeClient(0.3), Open(200, 40, arrivals)  # type: ignore[arg-type]
    found = await run(client, load)
    assert client.most > 10
    ordered = sorted(found.records, key=lambda one: one.index)
    assert tuple(one.intended for one in ordered) == load.offsets
    assert all(one.delay is not None and one.delay > -0.001 for one in ordered)


async def test_a_late_request_does_not_delay_the_schedule() -> None:
    """The schedule slips with every delay (coordinated omission)."""
    client, ask = FakeClient(0.0), FakeClient.ask

    async def blocking(self: FakeClient, request: LoadRequest, *told: float) -> RequestRecord:
        if request.index == 3:
            until = monotonic() + 0.2
            while monotonic() < until:
                pass
        return await ask(self, request, *told)

    client.ask = blocking.__get__(client)  # type: ignore[method-assign]
    load = Open(100, 30, "constant")
    found = {one.index: one for one in (await run(client, load)).records}
    assert tuple(found[at].intended for at in range(30)) == load.offsets
    assert (found[4].delay or 0) > 0.1, "the delay against the schedule isn't recorded"


async def test_a_limit_ends_a_load_and_says_so() -> None:
    """A hung server holds a run for ever, or the run looks whole."""
    for load in (Closed(3, 50), Open(0.01, 2)):
        client = FakeClient(None)
        found = await run(client, load, limit=0.2)
        assert found.limited
        assert len(found.records) < load.requests
        assert {one.error for one in found.records} == {ErrorKind.ABANDONED}


async def test_a_load_ends_when_it_is_told_to() -> None:
    """A warm-up goes on although the server is steady."""
    found = await run(FakeClient(), Closed(4, 100), stop_after=10)
    assert 10 <= len(found.records) <= 13
    assert not found.limited


async def test_the_garbage_collector_rests_only_meanwhile() -> None:
    """Its pauses are in every latency, or it never runs again."""
    client, frozen = FakeClient(), gc.get_freeze_count()
    await run(client, Closed(2, 4))
    assert client.collecting == [False] * 4
    assert gc.isenabled()
    assert gc.get_freeze_count() == frozen


async def test_a_cancelled_load_leaves_no_task() -> None:
    """An interrupted run goes on sending."""
    client, before = FakeClient(None), asyncio.all_tasks()
    task = asyncio.create_task(run(client, Closed(3, 50)))
    while client.now < 3:
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert asyncio.all_tasks() == before
    assert gc.isenabled()


@given(st.floats(0.01, 1000), st.integers(1, 300), st.integers(0, 5))
def test_a_schedule_is_in_order_and_repeatable(rate: float, requests: int, seed: int) -> None:
    """The same load is another one the next time."""
    for arrivals in ("poisson", "constant"):
        made = Open(rate, requests, arrivals, seed)
        assert list(made.offsets) == sorted(made.offsets)
        assert (len(made.offsets), made.offsets[0]) == (requests, 0.0)
        assert made.offsets == Open(rate, requests, arrivals, seed).offsets


def test_poisson_arrivals_have_their_rate_and_spread() -> None:
    """Arrivals bunch too much or too little for independent users."""
    offsets = Open(50, 5000).offsets
    gaps = [later - earlier for earlier, later in itertools.pairwise(offsets)]
    assert statistics.fmean(gaps) == pytest.approx(1 / 50, rel=0.05)
    assert statistics.pstdev(gaps) == pytest.approx(1 / 50, rel=0.08)
    even = Open(50, 100, "constant").offsets
    assert even[-1] == pytest.approx(99 / 50)


@pytest.mark.parametrize(
    "wrong", [(Closed, 0, 5), (Closed, 6, 5), (Open, 0, 5), (Open, 1, 0), (Open, float("nan"), 5)]
)
def test_what_is_no_load_is_refused(wrong: tuple[type[Closed | Open], float, int]) -> None:
    """A load without requests passes, or hangs."""
    kind, amount, count = wrong
    with pytest.raises(UsageError):
        kind(amount, count)  # type: ignore[arg-type]
