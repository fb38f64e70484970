"""Results of SGLang's own clients: read as they are, and ours written so that they fit beside."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import pytest

from benchmarks.bench_serving import beside, read
from ci.bench.bench_serving import export
from ci.bench.load import LoadRun
from ci.bench.metrics import summarise
from ci.bench.records import ErrorKind, RequestRecord
from ci.bench.saturation import Effort
from ci.bench.schedule import Closed, Load, Open
from ci.bench.session import Measured
from ci.errors import UsageError
from tests.unit.bench_samples import failed, in_row, record

pytestmark = pytest.mark.unit

RESULTS = Path(__file__).parent / "streams" / "bench_serving.jsonl"
"""Of four requests each: `sglang.bench_serving` and the Rust client of SGLang 0.5.23."""


def measured(records: tuple[RequestRecord, ...], load: Load | None = None) -> Measured:
    """Return a load that brought these records."""
    shape = load or Closed(min(2, len(records)), len(records))
    run = LoadRun(shape, len(records), records, 1.0, Effort(1.0, 0.1, ()), 0.0)
    summary = summarise(records, len(records))
    return Measured(run, summary, (), None, (), "0" * 64, lengths_asked=True)


def test_results_of_both_clients_are_read() -> None:
    """The field's own results can't be laid beside ours."""
    for found in read(RESULTS):
        assert (found.name, found.completed, len(found.records)) == ("sglang", 4, 4)
        assert found.figures["median_ttft_ms"] > 20
        assert "request_rate" not in found.figures or found.figures["request_rate"] < float("inf")
        assert {one.output_tokens for one in found.records} == {6}
        assert {len(one.itls) for one in found.records} == {5}


def test_our_arithmetic_finds_their_figures() -> None:
    """A metric of the same name is another quantity there."""
    for found in read(RESULTS):
        ours = found.latencies
        assert ours
        for name in ("ttft", "tpot", "itl"):
            mine = getattr(ours, name)
            assert 1e3 * mine.mean == pytest.approx(found.figures[f"mean_{name}_ms"], rel=0.005)
            assert 1e3 * mine.deviation == pytest.approx(found.figures[f"std_{name}_ms"], rel=0.1)
        assert ours.e2e
        assert 1e3 * ours.e2e.mean == pytest.approx(found.figures["mean_e2e_latency_ms"], rel=0.005)


def test_what_we_write_is_what_they_write() -> None:
    """A tool that reads their results misses a key in ours, or finds another kind of value."""
    theirs = json.loads(RESULTS.read_text().splitlines()[0])
    line = export(measured(in_row(4)), api="generate", tag="ours")
    assert set(line) <= set(theirs)
    for key, value in line.items():
        if theirs[key] is not None and key != "request_rate":
            same = int | float if isinstance(value, float) else type(value)
            assert isinstance(theirs[key], same), key


def test_what_we_write_can_be_read_back(tmp_path: Path) -> None:
    """Latencies change on their way through the other format."""
    made = (*in_row(5, itls=(0.25, 0.5)), failed(5))
    path = tmp_path / "ours.jsonl"
    path.write_text(json.dumps(export(measured(made), api="generate", tag="x")) + "\n")
    (found,) = read(path)
    ours, theirs = summarise(made, 6), found.latencies
    assert theirs
    assert (found.name, found.completed) == ("x", 5)
    assert found.seconds == pytest.approx(1.25)
    assert theirs.completed == 5
    assert [one.error is None for one in found.records] == [True] * 5 + [False]
    for name in ("ttft", "tpot", "itl", "e2e"):
        mine, other = getattr(ours, name), getattr(theirs, name)
        assert other.mean == pytest.approx(mine.mean)
        assert other.at(99).value == pytest.approx(mine.at(99).value)


def test_what_was_not_measured_is_null() -> None:
    """A run in which all failed has latencies of 0 ms in the other format."""
    line = export(measured((failed(),)), api="chat", details=False)
    assert {value for key, value in line.items() if key.endswith("_ms")} == {None}
    assert (line["request_throughput"], line["completed"]) == (None, 0)


def test_a_zero_for_nothing_is_read_as_nothing(tmp_path: Path) -> None:
    """Their TTFT of 0 for a request without tokens becomes the best of all."""
    line = json.loads(RESULTS.read_text().splitlines()[0])
    line["ttfts"][0], line["itls"][0], line["output_lens"][0] = 0.0, [], 0
    line["errors"][1] = "Traceback\nConnectionResetError: gone"
    path = tmp_path / "odd.jsonl"
    path.write_text(json.dumps(line))
    (found,) = read(path)
    assert [one.error for one in found.records[:3]] == [ErrorKind.EMPTY, ErrorKind.STREAM, None]
    assert found.records[1].detail == "ConnectionResetError: gone"
    assert found.latencies
    assert found.latencies.ttft
    assert found.latencies.ttft.count == 2


def test_a_result_without_details_has_figures_alone(tmp_path: Path) -> None:
    """A short result can't be read."""
    line = json.loads(RESULTS.read_text().splitlines()[1])
    brief = {key: value for key, value in line.items() if not isinstance(value, list)}
    path = tmp_path / "brief.jsonl"
    path.write_text(json.dumps(brief))
    (found,) = read(path)
    assert (found.records, found.latencies) == ((), None)
    assert found.figures["mean_ttft_ms"] == line["mean_ttft_ms"]


def test_the_shape_of_the_load_is_told() -> None:
    """A closed loop looks like an open one."""
    closed = export(measured(in_row(4)), api="generate")
    rate = export(measured(in_row(4), Open(2.5, 4)), api="chat")
    assert (closed["request_rate"], closed["max_concurrency"]) == ("inf", 2)
    assert (rate["request_rate"], rate["max_concurrency"]) == (2.5, None)
    assert (closed["backend"], rate["backend"]) == ("sglang", "sglang-oai-chat")


def test_figures_are_laid_side_by_side() -> None:
    """Two columns hold different quantities."""
    rows = {name: pair for name, *pair in beside(measured(in_row(4, ttft=0.25)), read(RESULTS)[0])}
    assert rows["median_ttft_ms"] == [250.0, pytest.approx(24.953, abs=0.001)]
    assert rows["completed"] == [4, 4]
    assert set(rows) >= {"p99_itl_ms", "output_throughput", "duration"}


def test_records_need_not_be_in_order() -> None:
    """The columns of a result belong to different requests."""
    made = (record(1, ttft=0.5), record(0, ttft=0.25))
    line = export(measured(made), api="generate")
    assert line["ttfts"] == [0.25, 0.5]
    assert statistics.fmean(line["ttfts"]) * 1e3 == line["mean_ttft_ms"]


@pytest.mark.parametrize("text", ["{}", "[]", "1", "{", '{"backend": "sglang", "duration": "x"}'])
def test_what_is_no_result_is_named(text: str, tmp_path: Path) -> None:
    """Another file is a traceback, or a result of zeros."""
    path: Any = tmp_path / "odd.jsonl"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"odd\.jsonl: no results of bench_serving"):
        read(path)
