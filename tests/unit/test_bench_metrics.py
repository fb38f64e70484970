"""The arithmetic of figures: exact against a second computation, and never a 0 for nothing."""

from __future__ import annotations

import math
import random
from dataclasses import fields
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ci.bench.metrics import Slo, Summary, duration, summarise
from ci.bench.percentiles import SampleDistribution
from ci.bench.records import ErrorKind, RequestRecord
from ci.errors import UsageError
from tests.unit.bench_samples import failed, record, records

pytestmark = pytest.mark.unit

SLO = Slo(ttft=1.0, tpot=0.5, e2e=5.0)


def by_hand(made: list[RequestRecord]) -> dict[str, Any]:
    """Compute the figures a second time, in fractions and from the definitions' words."""
    whole = [one for one in made if one.error is None]
    spent = Fraction(max(one.ended for one in made)) - Fraction(min(one.started for one in made))
    firsts = [Fraction(one.times[0]) - Fraction(one.started) for one in whole]
    lasts = [Fraction(one.times[-1]) - Fraction(one.started) for one in whole]
    many = [(one, first, last) for one, first, last in zip(whole, firsts, lasts, strict=True)]
    tpots = {
        one.index: (last - first) / (len(one.times) - 1)
        for one, first, last in many
        if len(one.times) > 1
    }
    good = [
        one
        for one, first, last in many
        if first <= 1 and last <= 5 and tpots.get(one.index, 0) <= Fraction(1, 2)
    ]
    return {
        "seconds": spent,
        "ttft": firsts,
        "e2e": lasts,
        "tpot": list(tpots.values()),
        "itl": [
            Fraction(b) - Fraction(a)
            for one in whole
            for a, b in zip(one.times, one.times[1:], strict=False)
        ],
        "good": len(good),
        "tokens": sum(len(one.times) for one in whole),
    }


@given(records())
def test_figures_are_those_of_a_second_computation(made: list[RequestRecord]) -> None:
    """A figure isn't what its definition says."""
    found = summarise(made, len(made), SLO)
    assert found.sent == len(made)
    assert found.completed + sum(found.errors.values()) == len(made)
    if not made:
        return
    truth = by_hand(made)
    assert found.seconds == pytest.approx(float(truth["seconds"]))
    for name in ("ttft", "tpot", "itl", "e2e"):
        same(getattr(found, name), truth[name])
    assert found.goodput
    assert found.goodput.met == truth["good"]
    assert found.goodput.share == pytest.approx(truth["good"] / len(made))
    assert found.goodput.rate == pytest.approx(float(truth["good"] / truth["seconds"]))
    if found.completed:
        assert found.output_tokens == truth["tokens"]
        assert found.request_throughput == pytest.approx(float(found.completed / truth["seconds"]))
        assert found.output_throughput == pytest.approx(float(truth["tokens"] / truth["seconds"]))
        assert found.concurrency == pytest.approx(float(sum(truth["e2e"]) / truth["seconds"]))


def same(found: SampleDistribution | None, truth: list[Fraction]) -> None:
    """Hold a distribution against the samples that it is of."""
    assert (found is None) == (not truth)
    if found is None:
        return
    assert found.count == len(truth)
    assert found.mean == pytest.approx(float(sum(truth) / len(truth)), abs=1e-9)
    assert found.at(50).value == pytest.approx(
        float(sorted(truth)[math.ceil(len(truth) / 2) - 1]), abs=1e-9
    )
    assert found.most == pytest.approx(float(max(truth)), abs=1e-9)


@given(records(), st.randoms())
@pytest.mark.long
def test_the_order_of_records_does_not_matter(
    made: list[RequestRecord], chance: random.Random
) -> None:
    """Two readers of one file get different figures."""
    shuffled = chance.sample(made, len(made))
    assert summarise(shuffled, len(made), SLO) == summarise(made, len(made), SLO)


@given(records())
@pytest.mark.long
def test_what_was_not_measured_is_never_a_number(made: list[RequestRecord]) -> None:
    """A run in which all failed has a TTFT of 0 ms, which is the best of all."""
    lost = [one for one in made if one.error]
    found = summarise(lost, len(made), SLO)
    empty = ("ttft", "tpot", "itl", "e2e", "ttft_intended", "e2e_intended", "output_tokens")
    rates = ("request_throughput", "output_throughput", "input_throughput", "concurrency")
    assert all(getattr(found, name) is None for name in (*empty, *rates))
    assert found.completed == 0


@given(records())
@pytest.mark.long
def test_every_distribution_has_samples(made: list[RequestRecord]) -> None:
    """A distribution of nothing passes as one of zeros."""
    found = summarise(made, len(made))
    parts = [getattr(found, field.name) for field in fields(Summary)]
    assert all(part.count > 0 for part in parts if isinstance(part, SampleDistribution))


def test_a_chunk_of_several_tokens_is_several_gaps() -> None:
    """ITL is one a chunk, so that a server looks slow for sending tokens together."""
    one = record(itls=(0.3, 0.4), counts=(1, 4, 6), output_tokens=6)
    assert one.itls == pytest.approx((0.1, 0.1, 0.1, 0.2, 0.2))
    assert one.tpot == pytest.approx(0.7 / 5)


def test_without_counts_there_is_no_itl_but_a_tpot() -> None:
    """Chunks are taken for tokens although their number is another."""
    one = record(itls=(0.3, 0.4), counts=(), output_tokens=8)
    assert one.itls == ()
    assert one.tpot == pytest.approx(0.1)


def test_one_token_has_no_tpot_and_breaks_no_limit_on_it() -> None:
    """A single token's TPOT is 0, or misses its SLO."""
    one = record(ttft=0.2)
    assert one.tpot is None
    assert Slo(tpot=0.001).met(one)
    assert not Slo(ttft=0.1).met(one)


def test_a_limit_that_is_just_met_is_met() -> None:
    """Goodput counts a request as late that is exactly in time."""
    assert Slo(ttft=0.25, e2e=0.75).met(record(ttft=0.25, itls=(0.5,)))


def test_latencies_count_from_the_intended_start_too() -> None:
    """A client that sends late hides a server's queue (coordinated omission)."""
    found = summarise([record(started=3.0, ttft=0.5, itls=(0.5,), intended=1.0)], 1)
    assert found.ttft_intended
    assert found.e2e_intended
    assert found.delay
    assert found.delay.mean == pytest.approx(2.0)
    assert found.ttft_intended.mean == pytest.approx(2.5)
    assert found.e2e_intended.mean == pytest.approx(3.0)


def test_a_sum_of_which_a_part_is_unknown_is_unknown() -> None:
    """Tokens that the server didn't count are taken for none."""
    found = summarise([record(), record(1, prompt_tokens=None)], 2)
    assert found.prompt_tokens is None
    assert found.output_tokens == 2


def test_errors_are_counted_by_kind() -> None:
    """Errors are one number, or stand in an order that changes."""
    made = [failed(0, kind=ErrorKind.STALLED), failed(1), failed(2)]
    found = summarise(made, 5)
    assert dict(found.errors) == {ErrorKind.CUT: 2, ErrorKind.STALLED: 1}
    assert found.failures == "stream cut: 2, stream stalled: 1"
    assert (found.asked, found.sent, found.completed) == (5, 3, 0)


def test_a_run_lasts_from_its_first_start_to_its_last_end() -> None:
    """Throughput counts the time of whole answers only."""
    assert duration([record(started=2.0), failed(1, started=7.0)]) == pytest.approx(6.0)
    assert duration([]) is None


@pytest.mark.parametrize("limit", [0, -1, math.inf, math.nan])
def test_an_slo_has_to_be_a_time(limit: float) -> None:
    """A limit that nothing meets, or everything, is taken as one."""
    with pytest.raises(UsageError, match="no time limit"):
        Slo(ttft=limit)
