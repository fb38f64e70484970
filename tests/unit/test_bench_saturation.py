"""Whether a client notices that it was the bottleneck itself."""

from __future__ import annotations

import asyncio
import time

import pytest

from ci.bench.saturation import TICK, Effort, LagMeter, SaturationBounds, saturation
from tests.unit.bench_samples import in_row

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

CALM = Effort(seconds=10.0, cpu_seconds=2.0, lags=(0.0005,) * 100)
RECORDS = in_row(50, ttft=0.02)


def test_a_client_with_time_to_spare_is_not_saturated() -> None:
    """Every run is inconclusive."""
    assert saturation(CALM, RECORDS, SaturationBounds()) == ()
    assert saturation(CALM, in_row(50, ttft=0.02, intended=0.0)[:1], SaturationBounds()) == ()


def test_a_client_that_fills_its_core_is_saturated() -> None:
    """The client's own limit is reported as the server's throughput."""
    (problem,) = saturation(Effort(10.0, 9.5, CALM.lags), RECORDS, SaturationBounds())
    assert problem == "95% of a core, over 85%"


def test_a_late_event_loop_is_saturated() -> None:
    """Tokens are stamped late, and the server looks slow."""
    lags = (0.0005,) * 98 + (0.012, 0.02)
    (problem,) = saturation(Effort(10.0, 2.0, lags), RECORDS, SaturationBounds())
    assert problem == "its event loop was 12.0 ms late at p99, over 5.0 ms"
    assert saturation(Effort(10.0, 2.0, lags), in_row(50, ttft=0.2), SaturationBounds()) == ()


def test_sending_behind_the_schedule_is_saturated() -> None:
    """Requests come later than the load says."""
    late = in_row(50, ttft=0.02, intended=-0.05)
    (problem,) = saturation(CALM, late[:1], SaturationBounds())
    assert problem == "it sent 50.0 ms behind its schedule at p99, over 10.0 ms"


def test_a_client_without_answers_is_judged_as_well() -> None:
    """A run in which all failed breaks the judgement."""
    assert saturation(Effort(0.0, 0.0, ()), (), SaturationBounds()) == ()


async def test_the_meter_sees_a_loop_that_is_held_up() -> None:
    """The event loop's lag is measured in a way that can't see it."""
    with LagMeter() as meter:
        await asyncio.sleep(5 * TICK)
        begin = time.process_time()
        while time.process_time() - begin < 0.2:
            pass
        await asyncio.sleep(3 * TICK)
        effort = meter.effort()
    assert effort.lags[-1] >= 0.1
    assert effort.cpu_seconds >= 0.2
    assert effort.seconds >= 0.2
    assert effort.cpu_share > 0
    ticks = len(effort.lags)
    await asyncio.sleep(3 * TICK)
    assert len(meter.effort().lags) == ticks, "the meter goes on after its end"
