"""Our results as a line of `sglang.bench_serving`, so that tools for those read ours as well.

One JSON object a line; latencies in milliseconds but for the lists of `--output-details`,
which are in seconds. Their percentiles are interpolated (numpy's default) and ours are real
samples, so the two may differ by the gap between two neighbouring samples. Written against
SGLang 0.5.23, `sglang/benchmark/serving.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ci.bench.percentiles import SampleDistribution
from ci.bench.records import RequestRecord
from ci.bench.schedule import Closed
from ci.bench.session import Measured

_LATENCIES = {"e2e": "e2e_latency", "ttft": "ttft", "tpot": "tpot", "itl": "itl"}
_TAILS = (90, 95, 99)


def export(measured: Measured, *, api: str, tag: str = "", details: bool = True) -> dict[str, Any]:
    """Return a load's figures as a line of `bench_serving`; what wasn't measured is null.

    Args:
        measured: The load.
        api: The API that was asked: `generate` or `chat`.
        tag: What the line is called.
        details: Whether the lists of every request are in it.
    """
    summary, load = measured.summary, measured.run.load
    line: dict[str, Any] = {
        "tag": tag or None,
        "backend": "sglang" if api == "generate" else "sglang-oai-chat",
        "request_rate": "inf" if isinstance(load, Closed) else load.rate,
        "max_concurrency": load.concurrency if isinstance(load, Closed) else None,
        "duration": summary.seconds,
        "completed": summary.completed,
        "total_input_tokens": summary.prompt_tokens,
        "total_output_tokens": summary.output_tokens,
        "request_throughput": summary.request_throughput,
        "input_throughput": summary.input_throughput,
        "output_throughput": summary.output_throughput,
        "concurrency": summary.concurrency,
    }
    for field, name in _LATENCIES.items():
        line |= _milliseconds(name, getattr(summary, field))
    return line | (_details(measured.run.records) if details else {})


def _milliseconds(name: str, found: SampleDistribution | None) -> dict[str, float | None]:
    keys = ("mean", "median", "std", *(f"p{level}" for level in _TAILS))
    if found is None:
        return {f"{key}_{name}_ms": None for key in keys}
    tails = (found.at(level).value for level in _TAILS)
    values = (found.mean, found.at(50).value, found.deviation, *tails)
    return {f"{key}_{name}_ms": 1e3 * value for key, value in zip(keys, values, strict=True)}


def _details(records: Sequence[RequestRecord]) -> dict[str, list[Any]]:
    ordered = sorted(records, key=lambda record: record.index)
    return {
        "input_lens": [record.prompt_tokens or 0 for record in ordered],
        "output_lens": [record.output_tokens or 0 for record in ordered],
        "ttfts": [record.ttft or 0.0 for record in ordered],
        "itls": [list(record.itls) for record in ordered],
        "generated_texts": [record.output for record in ordered],
        "errors": [f"{one.error}: {one.detail}" if one.error else "" for one in ordered],
    }
