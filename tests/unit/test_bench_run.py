"""The whole bench against a server of known timing: what is believed, what isn't, and its files."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import anyio
import anyio.lowlevel
import pytest

from ci.bench.agreement import Tolerance
from ci.bench.client import Client, Timeouts
from ci.bench.lengths import Lengths
from ci.bench.live import Snapshot
from ci.bench.metrics import Slo
from ci.bench.options import BenchOptions, WarmUp
from ci.bench.prompt_files import FromFile
from ci.bench.prompts import Prompt, SyntheticPrompts
from ci.bench.ramp import Ramp
from ci.bench.run import Bench, bench
from ci.bench.saturation import SaturationBounds
from ci.bench.schedule import Closed, Open
from ci.bench.scrape import Metrics, scrape
from ci.engines.metrics import MetricNames
from ci.errors import BadAnswer, Unreachable, UsageError
from ci.report.model import Case, Check
from ci.verdict import Outcome, Verdict
from tests.fakes.timed import Timed, Timing
from tests.unit.judged import check_of, replay

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

HANG = 120.0
ANY = SaturationBounds(cpu_share=1e9, lag=1e9, delay=1e9)
"""Bounds of a client on a machine that does other things as well."""

PROMPTS = SyntheticPrompts(output=Lengths("fixed", 5))
FAST = BenchOptions(
    prompts=PROMPTS,
    loads=(Closed(4, 24),),
    warm_up=WarmUp(requests=0),
    bounds=ANY,
    tolerance=Tolerance(seconds=60),
    poll=0.1,
    timeouts=Timeouts(connect=5, first_token=20, stall=20),
)


@pytest.fixture(scope="module")
def server() -> Iterator[Timed]:
    """Serve quickly."""
    with Timed(Timing(ttft=0.01, itl=0.004)) as server:
        yield server


def changed(**values: object) -> BenchOptions:
    """Return the options with some other values."""
    return BenchOptions(**(vars(FAST) | values))


def check(found: Bench) -> Check:
    """Return the check of a bench."""
    return check_of("bench", replay(found.cases, found.result))


async def run(server: Timed, fault: str = "", **values: object) -> Bench:
    """Run a bench; a fault shows in its loads, and not in the request before them."""
    faulty = {"headers": {"x-fault": fault}, "probe": 0.0} if fault else {}
    async with asyncio.timeout(HANG):
        return await bench(server.url, changed(**faulty | values))


def outcomes(found: Bench) -> dict[str, Outcome]:
    """Return the outcome of each case."""
    return {case.name: case.outcome for case in check(found).cases}


@pytest.mark.parametrize("api", ["generate", "chat"])
async def test_a_good_run_passes(server: Timed, api: str) -> None:
    """Nothing is ever believed."""
    prompts = SyntheticPrompts(output=Lengths("fixed", 5), as_text=api == "chat")
    found = await run(server, api=api, prompts=prompts)
    assert check(found).verdict is Verdict.PASSED, check(found).cause
    assert outcomes(found) == {
        "warm-up reaches a steady state": Outcome.SKIPPED,
        "every request succeeds": Outcome.PASSED,
        "as many requests as asked": Outcome.PASSED,
        "answers have the length asked for": Outcome.PASSED,
        "every latency is measured": Outcome.PASSED,
        "answers come while they are made": Outcome.PASSED,
        "the client keeps up": Outcome.PASSED,
        "server counts the same requests and tokens": Outcome.PASSED,
        "server measures the same TTFT": Outcome.PASSED,
        "server measures the same e2e": Outcome.PASSED,
        "the same server answers throughout": Outcome.PASSED,
    }
    (load,) = found.loads
    assert (load.summary.completed, load.summary.output_tokens) == (24, 120)
    assert load.summary.ttft
    assert load.summary.ttft.least >= 0.01
    assert load.gauges


FAULTS = {
    "error": "every request succeeds",
    "short": "answers have the length asked for",
    "miscounted": "server counts the same requests and tokens",
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_bad_run_is_inconclusive_and_says_why(server: Timed, fault: str) -> None:
    """The figures of a broken run are believed."""
    found = await run(server, fault)
    assert check(found).verdict is Verdict.INCONCLUSIVE
    assert outcomes(found)[FAULTS[fault]] is Outcome.INCONCLUSIVE
    assert FAULTS[fault] in check(found).cause
    assert all(case.message for case in check(found).cases)


async def test_a_run_in_which_all_fails_fails_and_has_no_figure(server: Timed) -> None:
    """A dead server has a latency of 0 ms, or the whole load is sent to it, or it isn't FAILED."""
    found = await run(server, "cut")
    assert check(found).verdict is Verdict.FAILED
    sent = len(found.loads[0].run.records)
    assert 8 <= sent < 24
    assert f"stream cut: {sent} (of {sent} requests)" in check(found).cause
    assert outcomes(found)["every latency is measured"] is Outcome.INCONCLUSIVE
    assert not {"TTFT", "TPOT", "request throughput"} & set(check(found).facts)


async def test_a_server_that_counts_late_is_waited_for(
    server: Timed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that counts a request after its last byte disagrees with every client."""
    pages: list[Metrics | None] = []

    async def late(client: Client, names: MetricNames) -> Metrics | None:
        pages.append(await scrape(client, names))
        return pages[0] if len(pages) == 2 else pages[-1]

    monkeypatch.setattr("ci.bench.session.scrape", late)
    found = await run(server)
    assert check(found).verdict is Verdict.PASSED, check(found).cause
    assert len(pages) == 3


async def test_a_saturated_client_is_inconclusive(server: Timed) -> None:
    """The client's own limit is the server's figure."""
    found = await run(server, bounds=SaturationBounds(cpu_share=0.0, lag=1e9, delay=1e9))
    assert check(found).verdict is Verdict.INCONCLUSIVE
    assert check(found).cause.startswith("the client keeps up: ")


async def test_a_run_at_its_time_limit_is_inconclusive(server: Timed) -> None:
    """A run that was ended early counts as whole."""
    found = await run(server, "mute", limit=0.3)
    assert check(found).verdict is Verdict.INCONCLUSIVE
    assert "abandoned at the run's time limit: 4 (of 4 requests)" in check(found).cause
    case = next(case for case in check(found).cases if case.name == "as many requests as asked")
    assert case.message == "4 of 24 requests were sent; the time limit ended the load"


async def test_a_warm_up_ends_when_the_server_is_steady() -> None:
    """The slow first requests are in the figures, or the warm-up never ends."""
    with Timed(Timing(ttft=0.02, itl=0.005, cold=16, cold_factor=8.0)) as server:
        found = await run(server, warm_up=WarmUp(drift=3.0, requests=400, seconds=60))
    (warmed,) = found.warmed
    assert warmed.steady, warmed.drifts
    assert 32 <= len(warmed.run.records) < 400
    assert outcomes(found)["warm-up reaches a steady state"] is Outcome.PASSED
    assert check(found).phases[0].name == "warm-up, concurrency 4"


@pytest.mark.parametrize(("fault", "words"), [("", "drifts by"), ("error", "requests failed, as")])
async def test_a_warm_up_without_evidence_is_inconclusive(
    server: Timed, fault: str, words: str
) -> None:
    """A server counts as warm because a count of requests was reached."""
    found = await run(server, fault, warm_up=WarmUp(drift=1e-9, requests=32, seconds=60))
    case = check(found).cases[0]
    assert (case.name, case.outcome) == ("warm-up reaches a steady state", Outcome.INCONCLUSIVE)
    assert words in case.message


async def test_a_warm_up_that_nobody_answers_ends_the_bench(server: Timed) -> None:
    """A server that answers nothing gets hundreds of requests more."""
    server.reset()
    with pytest.raises(BadAnswer, match=r"warm-up: none of \d+ requests was answered: stream cut"):
        await run(server, "cut", warm_up=WarmUp(requests=400, seconds=60))
    assert 8 <= len(server.truth()) < 24


async def test_every_load_has_its_own_prompts_and_cases(server: Timed) -> None:
    """A second load hits the cache of the first, or hides its verdict."""
    found = await run(server, loads=(Closed(2, 8), Open(200, 8)), slo=Slo(ttft=60))
    assert check(found).verdict is Verdict.PASSED, check(found).cause
    assert len({load.workload for load in found.loads}) == 2
    names = list(outcomes(found))
    assert len(set(names)) == len(check(found).cases)
    assert "concurrency 2: every request succeeds" in names
    assert "200 requests/s: every request succeeds" in names
    facts = check(found).facts
    assert "200 requests/s: delay against the schedule" in facts
    assert facts["concurrency 2: goodput"].endswith("requests/s, 100.0% within ttft <= 60000 ms")


async def test_the_same_seed_is_the_same_workload(server: Timed) -> None:
    """A run can't be repeated."""
    one, two = await run(server), await run(server)
    other = await run(server, prompts=SyntheticPrompts(seed=1, output=Lengths("fixed", 5)))
    assert one.loads[0].workload == two.loads[0].workload != other.loads[0].workload


async def test_a_ramp_finds_the_rate_that_a_server_bears() -> None:
    """Goodput is a rate that was never tried, or one that missed its SLOs."""
    ramp = Ramp(Slo(ttft=1.0), start=20.0, most=2560.0, steps=5, seconds=0.3, least=20)
    with Timed(Timing(ttft=0.01, itl=0.0025, slots=1)) as server:
        found = await run(server, loads=(), ramp=ramp)
    assert found.found
    assert 1 < len(found.found.steps) == len(found.steps) <= 5
    tried = {step.rate: step for step in found.found.steps}
    if found.found.best:
        assert tried[found.found.best].met
        assert f"{found.found.best:g} requests/s" in check(found).facts
    assert check(found).cases[-2].name == "the highest rate that meets the SLOs is found"


async def test_cases_and_snapshots_are_told_at_once(server: Timed) -> None:
    """A terminal shows nothing until the end."""
    cases: list[Case] = []
    shown: list[Snapshot] = []
    found = await bench(server.url, FAST, cases.append, shown.append)
    assert tuple(cases) == check(found).cases
    last = shown[-1]
    assert (last.label, last.asked, last.completed, last.failed) == ("concurrency 4", 24, 24, 0)
    assert last.ttft_p50
    assert last.ttft_p99
    assert last.ttft_p50 <= last.ttft_p99


async def test_an_interrupted_bench_ends_and_leaves_nothing(server: Timed) -> None:
    """A signal waits for a hung server, or requests go on behind its back."""
    before = asyncio.all_tasks()
    with anyio.fail_after(HANG), anyio.move_on_after(0.3) as scope:
        await run(server, "mute")
    assert scope.cancelled_caught
    await anyio.lowlevel.checkpoint()
    assert asyncio.all_tasks() == before


async def test_too_few_prompts_are_refused(server: Timed) -> None:
    """A load is shorter than asked, or repeats its prompts without a word."""
    few = FromFile("few", tuple(Prompt(2, text=f"p{at}") for at in range(3)))
    with pytest.raises(UsageError, match="3 prompts and 24 requests"):
        await run(server, prompts=few)


async def test_a_server_that_is_not_there_is_an_error() -> None:
    """A dead server is a run of failed requests, and INCONCLUSIVE."""
    with pytest.raises(Unreachable):
        await bench("http://127.0.0.1:1", FAST)
