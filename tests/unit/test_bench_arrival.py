"""Answers that were held back are told, and those of a busy client aren't taken for such."""

from __future__ import annotations

from dataclasses import replace

import anyio
import pytest

from ci.bench.arrival import arrival_case
from ci.bench.lengths import Lengths
from ci.bench.options import BenchOptions
from ci.bench.prompts import SyntheticPrompts
from ci.bench.records import RequestRecord
from ci.bench.run import Bench, bench
from ci.bench.saturation import Effort
from ci.gate.loaded import loaded
from ci.verdict import Outcome, Verdict
from tests.fakes.relay import after, relaying
from tests.fakes.timed import Timed, Timing
from tests.unit.test_bench_run import FAST, HANG, check
from tests.unit.test_gate_loaded import LOAD, OPTIONS

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

LONG = replace(FAST, prompts=SyntheticPrompts(output=Lengths("fixed", 12)))
"""Answers that even a busy client can't take for ones that came at once."""
FRESH = Effort(10.0, 1.0, (0.0,), 0.1)
NAME = "answers come while they are made"


def answer(*gaps: float) -> RequestRecord:
    """Return an answer whose chunks came with these gaps, the first after a second."""
    times = [1.0 + sum(gaps[:at]) for at in range(len(gaps) + 1)]
    return RequestRecord(
        0, len(times), 0.0, times[-1], times=tuple(times), output_tokens=len(times)
    )


STEADY, HELD = answer(*[0.005] * 15), answer(*[0.00002] * 15)
BURSTS = answer(*([0.0] * 7 + [0.05] + [0.0] * 7))


@pytest.mark.parametrize(
    ("records", "effort", "outcome"),
    [
        ([STEADY] * 3, FRESH, Outcome.PASSED),
        ([STEADY, STEADY, HELD], FRESH, Outcome.PASSED),
        ([answer(0.001)], FRESH, Outcome.PASSED),
        ([HELD] * 3, FRESH, Outcome.INCONCLUSIVE),
        ([BURSTS] * 3, FRESH, Outcome.INCONCLUSIVE),
        ([answer(0.0)] * 3, FRESH, Outcome.INCONCLUSIVE),
        ([BURSTS] * 3, Effort(10.0, 1.0, (0.0,), 5.0), Outcome.SKIPPED),
        ([BURSTS] * 3, Effort(10.0, 9.9, (0.0,), 0.0), Outcome.SKIPPED),
        ([HELD] * 3, Effort(10.0, 1.0, (0.0,), 5.0), Outcome.INCONCLUSIVE),
        ([BURSTS] * 3, Effort(10.0, 1.0, (0.0,), None), Outcome.INCONCLUSIVE),
        ([answer()] * 3, FRESH, Outcome.SKIPPED),
        ([], FRESH, Outcome.SKIPPED),
    ],
    ids=[
        *("one by one", "a stall", "two tokens", "at once", "in bursts", "two tokens at once"),
        *("no core", "no time", "at once, no core", "nobody knows", "one chunk", "no answer"),
    ],
)
def test_what_is_said_of_answers(
    records: list[RequestRecord], effort: Effort, outcome: Outcome
) -> None:
    """A proxy's figures are believed, or a good server's aren't."""
    found = arrival_case(records, effort)
    assert (found.name, found.outcome) == (NAME, outcome)
    assert found.message.startswith("buffered: ") is (outcome is Outcome.INCONCLUSIVE)


async def found_at(url: str, options: BenchOptions = FAST) -> Bench:
    """Return what a bench finds at a URL."""
    with anyio.fail_after(HANG):
        return await bench(url, options)


async def test_a_proxy_that_holds_streams_is_told() -> None:
    """A bench passes whose TTFT is e2e, and whose TPOT is 0 ms."""
    with Timed(Timing(ttft=0.02, itl=0.005)) as server, relaying([server.url], hold=True) as url:
        found = await found_at(url, LONG)
        async with loaded(replace(OPTIONS, prompts=LONG.prompts), LOAD) as block:
            result = await block(url, 1)
    case = next(case for case in check(found).cases if case.name == NAME)
    assert case.outcome is Outcome.INCONCLUSIVE
    assert case.message.startswith("buffered: 100% of 24 answers came at once")
    assert "buffered" in result.problem


async def test_another_server_in_the_middle_of_a_load_fails() -> None:
    """A server that was replaced under load is INCONCLUSIVE, and nobody says why."""
    timing = Timing(ttft=0.01, itl=0.002)
    with (
        Timed(timing) as one,
        Timed(timing) as two,
        relaying([one.url, two.url], after(15)) as url,
    ):
        found = await found_at(url)
    assert check(found).verdict is Verdict.FAILED
    assert check(found).cases[-1].message.startswith("restarted: version 0.5.23 was")
