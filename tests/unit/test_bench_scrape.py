"""The server's own view: its metrics read whatever they are called, and held against ours."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ci.bench.agreement import Tolerance, View, agreement, view
from ci.bench.metrics import summarise
from ci.bench.records import RequestRecord
from ci.bench.scrape import Metrics, gauges, parse, scrape
from ci.server.door import MAX_BODY
from ci.verdict import Outcome
from tests.fakes.faulty import BEHAVIOURS, Behaviour, answering, listening
from tests.unit.bench_samples import failed, in_row
from tests.unit.test_bench_client import client_of

pytestmark = pytest.mark.unit

PAGE = """\
# HELP sglang:num_requests_total Requests.
# TYPE sglang:num_requests_total counter
sglang:num_requests_total{engine_type="unified",is_streaming="false",model_name="a"} 7.0
sglang:num_requests_total{engine_type="unified",is_streaming="true",model_name="a"} 3.0
sglang:num_requests_total{engine_type="unified",is_streaming="true",model_name="b \\"}"} 2.0
sglang:time_to_first_token_seconds_sum{is_streaming="true"} 0.5
sglang:time_to_first_token_seconds_count{is_streaming="true"} 5
sglang:time_to_first_token_seconds_bucket{le="0.1",is_streaming="true"} 5
sglang:num_running_reqs{tp_rank="0"} 4.0
sglang:num_queue_reqs 1
sglang:cache_hit_rate{dp_rank="0"} 0.2
sglang:cache_hit_rate{dp_rank="1"} 0.4
sglang:fwd_occupancy{tp_rank="0"} NaN
python_info{version="3.12"} 1.0
sglang:broken{
sglang:worse one
"""


@pytest.mark.parametrize("prefix", ["sglang:", "sglang_"])
def test_both_spellings_of_names_are_read(prefix: str) -> None:
    """A page without a single known name passes as one of zeros."""
    found = parse(PAGE.replace("sglang:", prefix).encode())
    assert found.total("num_requests_total") == 5
    assert found.total("num_queue_reqs") == 1
    assert found.mean("cache_hit_rate") == pytest.approx(0.3)
    assert "python_info" not in found.families


def test_what_a_page_does_not_tell_is_unknown() -> None:
    """A metric that isn't there, or isn't a number, is 0."""
    found = parse(PAGE.encode())
    assert found.total("nothing") is None
    assert found.total("fwd_occupancy") is None
    assert found.mean("fwd_occupancy") is None
    assert parse(b"").families == {}


@given(st.binary(max_size=300))
def test_no_page_breaks_the_reader(page: bytes) -> None:
    """An odd page ends the run."""
    assert isinstance(parse(b"sglang:a " + page), Metrics)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("behave", "words"),
    [
        (answering(404, "{}"), "the server shows no metrics (--enable-metrics)"),
        (answering(200, "python_info 1"), "the server shows no metrics (--enable-metrics)"),
        (answering(403, "no"), "can't be read: {url}/metrics: HTTP 403"),
        (answering(307, "", location="http://a/b"), "/metrics: HTTP 307, redirects to http://a/b"),
        (answering(200, b"#" * (MAX_BODY + 1)), "/metrics: malformed answer: it is over 16777216"),
        (BEHAVIOURS["resetting"], "/metrics: stream cut: the connection was lost"),
    ],
    ids=["not found", "others", "forbidden", "redirect", "too long", "reset"],
)
async def test_why_there_are_no_metrics_is_told(behave: Behaviour, words: str) -> None:
    """A page that was refused for its size reads as a server without metrics."""
    with listening(behave) as url:
        async with client_of(url) as client:
            found = await scrape(client)
        assert words.format(url=url) in found.absent
    assert not found.families
    records = in_row(4, ttft=0.1)
    cases = agreement(None, records, summarise(records, 4), Tolerance(), unseen=found.absent)
    assert [case.message for case in cases] == [found.absent]


def test_gauges_keep_their_time() -> None:
    """The server's queue can't be laid beside the load."""
    (found,) = gauges([(1.5, PAGE.encode())])
    assert (found.at, found.running, found.queued) == (1.5, 4, 1)
    assert found.token_usage is None


def page(**values: float) -> Metrics:
    """Return metrics of streams."""
    lines = (f'sglang:{name}{{is_streaming="true"}} {value}' for name, value in values.items())
    return parse("\n".join(lines).encode())


def test_only_what_grew_during_a_load_counts() -> None:
    """Requests of the warm-up are counted in the load."""
    before = page(num_requests_total=10, e2e_request_latency_seconds_sum=100)
    after = page(
        num_requests_total=14,
        generation_tokens_total=8,
        time_to_first_token_seconds_sum=0.4,
        time_to_first_token_seconds_count=4,
    )
    found = view(before, after)
    assert found.counts == {
        "requests": 4,
        "prompt tokens": None,
        "output tokens": 8,
        "cached tokens": None,
    }
    assert found.means == {"TTFT": pytest.approx(0.1), "e2e": None}


RECORDS = in_row(4, ttft=0.1)
GOOD = View(
    {"requests": 4, "prompt tokens": 40, "output tokens": 8, "cached tokens": None},
    {"TTFT": 0.099, "e2e": 0.108},
)


def outcomes(
    seen: View | None, records: tuple[RequestRecord, ...] = RECORDS, **tolerance: Any
) -> dict[str, tuple[Outcome, str]]:
    """Return the cases of a comparison by their names."""
    summary = summarise(records, len(records))
    cases = agreement(seen, records, summary, Tolerance(**tolerance))
    return {case.name: (case.outcome, case.message) for case in cases}


def test_sides_that_agree_pass() -> None:
    """A good run isn't believed."""
    found = outcomes(GOOD)
    assert len(found) == 3
    assert {outcome for outcome, _ in found.values()} == {Outcome.PASSED}


@pytest.mark.parametrize(
    ("what", "count", "words"),
    [
        ("requests", 5, "requests: the server 5, the client 4; does anybody else use it?"),
        ("requests", 3, "requests: the server 3, the client 4"),
        ("output tokens", 9, "output tokens: the server 9, the client 8"),
        ("prompt tokens", 44, "prompt tokens: the server 44, the client 40"),
    ],
)
def test_counts_that_differ_are_said(what: str, count: int, words: str) -> None:
    """Somebody else's requests are in the server's figures, or tokens are lost on the way."""
    found = outcomes(View(GOOD.counts | {what: count}, GOOD.means))
    assert found["server counts the same requests and tokens"] == (Outcome.INCONCLUSIVE, words)


@pytest.mark.parametrize("name", ["TTFT", "e2e"])
def test_means_that_differ_beyond_the_tolerance_are_said(name: str) -> None:
    """The client's latencies aren't the server's, and the report says nothing."""
    far = View(GOOD.counts, GOOD.means | {name: 0.08})
    assert outcomes(far)[f"server measures the same {name}"][0] is Outcome.INCONCLUSIVE
    near = outcomes(far, seconds=0.05)[f"server measures the same {name}"]
    assert near[0] is Outcome.PASSED
    assert "tolerance 50.0 ms" in near[1]
    assert outcomes(far, share=0.5)[f"server measures the same {name}"][0] is Outcome.PASSED


def test_a_figure_that_only_one_side_has_is_skipped() -> None:
    """A missing metric is a disagreement, or passes as agreement."""
    found = outcomes(View(dict.fromkeys(GOOD.counts), dict.fromkeys(GOOD.means)))
    assert {outcome for outcome, _ in found.values()} == {Outcome.SKIPPED}
    assert all(message for _, message in found.values())
    assert next(iter(outcomes(None).values()))[0] is Outcome.SKIPPED


def test_a_run_with_failures_is_not_held_against_the_server() -> None:
    """Failed requests, which servers count as they like, look like a disagreement."""
    found = outcomes(GOOD, (*RECORDS, failed(9)))
    assert {outcome for outcome, _ in found.values()} == {Outcome.SKIPPED}


def test_the_opening_of_connections_is_not_the_server_s() -> None:
    """A server that is far away seems to measure wrongly."""
    far = tuple(in_row(4, ttft=0.3, connecting=0.2))
    assert outcomes(GOOD, far)["server measures the same TTFT"][0] is Outcome.PASSED


def test_in_row_is_in_row() -> None:
    """The samples of these tests aren't what they say."""
    assert all(
        later.started - one.started == pytest.approx(0.1) for one, later in pairwise(RECORDS)
    )
