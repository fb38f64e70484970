"""The files of a bench: raw records, and every figure and plot's data as JSON.

`bench.json` has one object a load, with the figures of its summary, in seconds; what wasn't
measured is null. Each load's records lie beside it as `bench-1.jsonl.gz` and so on, and as
`bench_serving.jsonl` the same loads in the format of SGLang's own client.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ci.bench import records
from ci.bench.bench_serving import export
from ci.bench.percentiles import CONFIDENCE, rank_value
from ci.bench.plots import curves, load_point, timeline
from ci.bench.run import Bench
from ci.bench.saturation import Effort
from ci.bench.schedule import Closed, Load
from ci.bench.session import Measured, Warmed
from ci.errors import ReportUnwritable
from ci.secrets import files
from ci.verdict import judge

SCHEMA_VERSION = "1.0"
"""Version of `bench.json`: the major part changes when readers must change."""

JSON, FOREIGN = "bench.json", "bench_serving.jsonl"


def write(bench: Bench, folder: Path) -> tuple[Path, ...]:
    """Write a bench's files into `folder`, and return where they are.

    Raises:
        ReportUnwritable: They can't be written.
    """
    try:
        return tuple(_write(bench, folder))
    except OSError as error:
        raise ReportUnwritable(f"{folder}: the bench's files can't be written: {error}") from error


def _write(bench: Bench, folder: Path) -> Iterator[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    files.write(folder / JSON, json.dumps(document(bench), indent=1) + "\n")
    yield folder / JSON
    loads = (*bench.loads, *bench.steps)
    for number, measured in enumerate(loads, 1):
        path = folder / records_name(number)
        records.write(measured.run.records, path)
        yield path
    lines = (export(one, api=bench.options.api, tag=one.run.load.label) for one in loads)
    text = "".join(json.dumps(line) + "\n" for line in lines)
    files.write(folder / FOREIGN, text)
    yield folder / FOREIGN


def records_name(number: int) -> str:
    """Return the name of the file of a load's records; loads are counted from 1."""
    return f"bench-{number}.jsonl.gz"


def document(bench: Bench) -> dict[str, Any]:
    """Return all that `bench.json` holds."""
    loads = (*bench.loads, *bench.steps)
    points = (load_point(one.run.load.label, one.summary) for one in loads)
    return {
        "schema_version": SCHEMA_VERSION,
        "url": bench.url,
        "api": bench.options.api,
        "prompts": bench.options.prompts.facts(),
        "verdict": judge(case.outcome for case in bench.cases),
        "confidence": CONFIDENCE,
        "warm_ups": [_warmed(one) for one in bench.warmed],
        "loads": [_load(one, records_name(number)) for number, one in enumerate(loads, 1)],
        "ramp": asdict(bench.found) if bench.found else None,
        "throughput_latency": [asdict(point) for point in points if point],
    }


def _warmed(warmed: Warmed) -> dict[str, Any]:
    return {
        "load": _shape(warmed.run.load),
        "requests": len(warmed.run.records),
        "seconds": warmed.run.seconds,
        "steady": warmed.steady,
        "drifts": {name: asdict(drift) for name, drift in warmed.drifts.items()},
    }


def _load(measured: Measured, file: str) -> dict[str, Any]:
    summary, records = measured.summary, measured.run.records
    rates = ("request_throughput", "output_throughput", "input_throughput", "concurrency")
    return {
        "load": _shape(measured.run.load),
        "records": file,
        "workload": f"sha256:{measured.workload}",
        "summary": asdict(summary) | {rate: getattr(summary, rate) for rate in rates},
        "client": _client(measured.run.effort) | {"saturated": list(measured.saturated)},
        "server": asdict(measured.view) if measured.view else None,
        "gauges": [asdict(one) for one in measured.gauges],
        "curves": [asdict(curve) for curve in curves(records)],
        "timeline": [asdict(moment) for moment in timeline(records)],
    }


def _shape(load: Load) -> dict[str, Any]:
    kind = "closed" if isinstance(load, Closed) else "open"
    return {"kind": kind, "label": load.label, **asdict(load)}


def _client(effort: Effort) -> dict[str, Any]:
    lags = effort.lags
    return {
        "cpu_share": effort.cpu_share,
        "cpu_seconds": effort.cpu_seconds,
        "lag_p50": rank_value(lags, 50) if lags else None,
        "lag_p99": rank_value(lags, 99) if lags else None,
    }
