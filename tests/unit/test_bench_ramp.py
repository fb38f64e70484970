"""The search for goodput: bounded, and never surer than what it saw."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ci.bench.metrics import Slo
from ci.bench.ramp import Ramp, RampResult, Step, search
from ci.errors import UsageError

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

SLO = Slo(ttft=1.0)


async def find(limit: float, ramp: Ramp, *, broken_from: float = float("inf")) -> RampResult:
    """Search on a server that meets its SLOs up to a limit, and can't be measured from another."""

    async def measure(rate: float) -> Step:
        if rate >= broken_from:
            return Step(rate, None, None, "the client was saturated")
        return Step(rate, 1.0 if rate <= limit else 0.0, rate <= limit)

    return await search(ramp, measure)


@given(st.floats(0.05, 900), st.floats(0.1, 100), st.floats(0.02, 0.5))
def test_the_limit_lies_where_it_is_said(limit: float, start: float, precision: float) -> None:
    """The rate that is reported doesn't meet the SLOs, or a higher one would."""
    import asyncio

    ramp = Ramp(SLO, start=start, precision=precision, steps=60)
    found = asyncio.run(find(limit, ramp))
    assert found.problem == ""
    assert found.best
    assert found.missed
    assert found.best <= limit < found.missed <= found.best * (1 + precision) * 1.0001
    assert len({step.rate for step in found.steps}) == len(found.steps)


async def test_steps_bound_the_search() -> None:
    """A search goes on for hours."""
    found = await find(47.0, Ramp(SLO, start=1.0, precision=0.01, steps=7))
    assert len(found.steps) == 7
    assert "only known to lie between" in found.problem


async def test_the_highest_rate_bounds_the_search() -> None:
    """A client is asked for a rate that no machine can send."""
    found = await find(1e9, Ramp(SLO, start=1.0, most=10.0))
    assert max(step.rate for step in found.steps) == 10.0
    assert found.problem == "10 requests/s still meet the SLOs, and no more was tried"


async def test_a_server_that_never_meets_its_slos_is_said() -> None:
    """A search without an answer reports its first rate, or 0."""
    found = await find(0.0, Ramp(SLO, start=8.0, steps=4))
    assert found.best is None
    assert [step.rate for step in found.steps] == [8.0, 4.0, 2.0, 1.0]
    assert found.problem == "no rate down to 1 requests/s meets the SLOs"


async def test_a_step_that_can_not_be_judged_ends_the_search() -> None:
    """A saturated client is the server's limit."""
    found = await find(1000.0, Ramp(SLO, start=1.0), broken_from=8.0)
    assert found.best == 4.0
    assert found.problem == "at 8 requests/s: the client was saturated"


def test_a_step_has_enough_requests() -> None:
    """A slow rate is judged by one request."""
    ramp = Ramp(SLO, seconds=10, least=40)
    assert (ramp.requests(0.1), ramp.requests(100)) == (40, 1000)


@pytest.mark.parametrize(
    "wrong",
    [{"slo": Slo()}, {"start": 0.0}, {"start": 2.0, "most": 1.0}, {"share": 1.5}, {"steps": 0}],
)
def test_a_search_without_aim_or_end_is_refused(wrong: dict[str, object]) -> None:
    """A search never ends, or finds whatever it is given."""
    with pytest.raises(UsageError):
        Ramp(**({"slo": SLO} | wrong))  # type: ignore[arg-type]
