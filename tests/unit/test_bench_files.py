"""The files of a bench, and its check in a report: all that was measured, and no secret."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.bench_serving import read as read_foreign
from ci.bench import files
from ci.bench.metrics import summarise
from ci.bench.records import read
from ci.bench.run import bench
from ci.bench.schedule import Closed, Open
from ci.errors import ReportUnwritable
from ci.report.model import Report, now
from tests.fakes.timed import Timed, Timing
from tests.unit.test_bench_run import changed, check, run

pytestmark = [pytest.mark.unit, pytest.mark.anyio]


@pytest.fixture(scope="module")
def server() -> Iterator[Timed]:
    """Serve quickly."""
    with Timed(Timing(ttft=0.01, itl=0.004)) as server:
        yield server


async def test_its_files_hold_all_that_was_measured(server: Timed, tmp_path: Path) -> None:
    """Figures and records on the disk aren't those of the run."""
    found = await run(server, loads=(Closed(2, 8), Open(200, 8)))
    paths = files.write(found, tmp_path / "new")
    assert [path.name for path in paths] == [
        "bench.json",
        "bench-1.jsonl.gz",
        "bench-2.jsonl.gz",
        "bench_serving.jsonl",
    ]
    told = json.loads(paths[0].read_text())
    for number, load in enumerate(found.loads):
        entry = told["loads"][number]
        assert entry["records"] == paths[1 + number].name
        again = summarise(read(paths[1 + number]), load.run.asked)
        assert entry["summary"]["ttft"]["mean"] == pytest.approx(
            again.ttft and again.ttft.mean, abs=1e-5
        )
        assert entry["summary"]["request_throughput"] == load.summary.request_throughput
        assert entry["load"]["label"] == load.run.load.label
        assert {curve["name"] for curve in entry["curves"]} == {"TTFT", "TPOT", "ITL", "e2e"}
        assert entry["timeline"]
        assert entry["server"]["counts"]["requests"] == 8
    assert told["verdict"] == check(found).verdict
    assert len(told["throughput_latency"]) == 2
    assert [line.name for line in read_foreign(paths[-1])] == ["concurrency 2", "200 requests/s"]


async def test_files_that_can_not_be_written_are_said(server: Timed, tmp_path: Path) -> None:
    """A full disk is a traceback."""
    (tmp_path / "file").write_text("")
    found = await run(server)
    with pytest.raises(ReportUnwritable, match="can't be written"):
        files.write(found, tmp_path / "file")


async def test_a_check_is_a_report_s(server: Timed) -> None:
    """The report's schema doesn't take the bench's check."""
    found = await run(server)
    checks = (check(found),)
    report = Report(started=now(), finished=now(), checks=checks)
    assert Report.model_validate_json(report.model_dump_json()).checks == checks


async def test_secrets_are_not_in_a_report(server: Timed, tmp_path: Path) -> None:
    """A server's key lies in the report's files."""
    found = await bench(server.url, changed(headers={"authorization": "Bearer s3cret"}))
    paths = files.write(found, tmp_path)
    told = [path.read_text() for path in paths if path.suffix != ".gz"]
    told += [check(found).model_dump_json(), repr(found.options), str(read(paths[1]))]
    assert not any("s3cret" in one for one in told)
