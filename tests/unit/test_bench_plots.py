"""The data of plots: every sample is in them, and in its place."""

from __future__ import annotations

import pytest
from hypothesis import given

from ci.bench.metrics import summarise
from ci.bench.plots import POINTS, curves, load_point, timeline
from ci.bench.records import RequestRecord
from tests.unit.bench_samples import failed, in_row, record, records

pytestmark = pytest.mark.unit


@pytest.mark.long
@given(records())
def test_curves_rise_to_one_over_real_samples(made: list[RequestRecord]) -> None:
    """A distribution is drawn that nobody measured."""
    found = {curve.name: curve for curve in curves(made)}
    whole = [one for one in made if one.complete]
    assert ("TTFT" in found) == bool(whole)
    for curve in found.values():
        assert list(curve.seconds) == sorted(curve.seconds)
        assert list(curve.shares) == sorted(set(curve.shares))
        assert curve.shares[-1] == 1.0
        assert len(curve.seconds) <= POINTS
    if whole:
        assert set(found["TTFT"].seconds) <= {one.ttft for one in whole}


@pytest.mark.long
@given(records())
def test_a_timeline_holds_every_token_and_failure(made: list[RequestRecord]) -> None:
    """Tokens at the edge of a stretch are lost, or counted twice."""
    found = timeline(made)
    assert sum(moment.tokens for moment in found) == sum(one.counts[-1] for one in made)
    assert sum(moment.failed for moment in found) == sum(not one.complete for one in made)
    busy = sum(moment.running * moment.seconds for moment in found)
    assert busy == pytest.approx(sum(one.ended - one.started for one in made), rel=1e-6, abs=1e-6)


def test_a_stretch_shows_what_happened_in_it() -> None:
    """The timeline is shifted against the load."""
    made = (*in_row(3, gap=2.0, ttft=0.5, itls=(0.5,)), failed(3, started=5.0))
    found = timeline(made, stretches=6)
    assert [moment.start for moment in found] == pytest.approx([0, 1, 2, 3, 4, 5])
    assert [moment.tokens for moment in found] == [1, 1, 1, 1, 1, 2]
    assert [moment.ttft for moment in found] == [0.5, None, 0.5, None, 0.5, 0.5]
    assert [moment.running for moment in found] == pytest.approx([1, 0, 1, 0, 1, 1])
    assert [moment.failed for moment in found] == [0, 0, 0, 0, 0, 1]


def test_nothing_has_no_timeline_and_no_point() -> None:
    """A run without an answer is drawn at zero."""
    assert timeline(()) == ()
    assert curves((failed(),)) == ()
    assert load_point("x", summarise((failed(),), 1)) is None


def test_a_load_lies_where_it_was_measured() -> None:
    """Throughput and latency of two loads are mixed up."""
    found = load_point("x", summarise((record(ttft=0.25, itls=(0.25, 0.5)),), 1))
    assert found
    assert (found.request_throughput, found.output_throughput) == (1.0, 3.0)
    assert (found.ttft_p50, found.tpot_p50, found.e2e_p50) == (0.25, 0.375, 1.0)
