"""Results of `sglang.bench_serving`, read and written, so that both can be laid side by side.

One JSON object a line; latencies in milliseconds but for the lists of `--output-details`,
which are in seconds. Their percentiles are interpolated (numpy's default) and ours are real
samples, so the two may differ by the gap between two neighbouring samples. Written against
SGLang 0.5.23, `sglang/benchmark/serving.py`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

from ci.bench.metrics import Summary, summarise
from ci.bench.percentiles import SampleDistribution
from ci.bench.records import ErrorKind, RequestRecord
from ci.bench.schedule import Closed
from ci.bench.session import Measured
from ci.errors import UsageError

_LATENCIES = {"e2e": "e2e_latency", "ttft": "ttft", "tpot": "tpot", "itl": "itl"}
_TAILS = (90, 95, 99)


@dataclass(frozen=True)
class Foreign:
    """One line of a result.

    Args:
        name: Its tag, or its backend.
        seconds: Duration of the run.
        completed: Requests that succeeded.
        figures: Every number on the line, by its name there.
        records: Its requests, where it was made with `--output-details`. Their starts aren't
            known and are 0, so that only latencies may be computed from them.
    """

    name: str
    seconds: float
    completed: int
    figures: Mapping[str, float]
    records: tuple[RequestRecord, ...]

    @property
    def latencies(self) -> Summary | None:
        """Our own figures of their requests, of which only latencies and errors mean anything."""
        return summarise(self.records, len(self.records)) if self.records else None


def read(path: Path) -> tuple[Foreign, ...]:
    """Read a file of results.

    Raises:
        UsageError: It can't be read, or holds something else.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
        return tuple(_foreign(json.loads(line)) for line in lines if line.strip())
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        problem = f"{type(error).__name__}: {error}"
        raise UsageError(f"{path}: no results of bench_serving: {problem}") from error


def _foreign(line: Mapping[str, Any]) -> Foreign:
    numbers = {
        key: float(value)
        for key, value in line.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    }
    return Foreign(
        name=str(line.get("tag") or line["backend"]),
        seconds=float(line["duration"]),
        completed=int(line["completed"]),
        figures=numbers,
        records=tuple(_records(line)) if "ttfts" in line else (),
    )


def _records(line: Mapping[str, Any]) -> Iterator[RequestRecord]:
    columns = (line[key] for key in ("ttfts", "itls", "input_lens", "output_lens", "errors"))
    rows = zip(*columns, strict=True)
    for index, (ttft, itls, prompt, output, error) in enumerate(rows):
        measured = ttft > 0 and not error
        times = tuple(accumulate(itls, initial=ttft)) if measured else ()
        yield RequestRecord(
            index=index,
            asked_tokens=output,
            started=0.0,
            ended=times[-1] if times else 0.0,
            times=times,
            counts=_counts(len(times), output),
            output_tokens=output if measured else None,
            prompt_tokens=prompt,
            finish="unknown" if measured else "",
            error=None if measured else ErrorKind.STREAM if error else ErrorKind.EMPTY,
            detail=str(error).strip().splitlines()[-1] if error else "",
        )


def _counts(times: int, output: int) -> tuple[int, ...]:
    """Return the tokens so far at each time: their lists have one gap for each later token."""
    return tuple(range(output - times + 1, output + 1)) if 0 < times <= output else ()


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


Row = tuple[str, float | None, float | None]


def beside(measured: Measured, foreign: Foreign) -> tuple[Row, ...]:
    """Return name, our figure and theirs, for each figure of ours that they could have."""
    line = export(measured, api="generate", details=False)
    return tuple(
        (key, value, foreign.figures.get(key))
        for key, value in line.items()
        if key.endswith(("_ms", "throughput")) or key in {"completed", "duration", "concurrency"}
    )
