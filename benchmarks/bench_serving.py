"""Results of `sglang.bench_serving`, read, so that they can be laid beside ours.

One JSON object a line; latencies in milliseconds but for the lists of `--output-details`,
which are in seconds. Written against SGLang 0.5.23, `sglang/benchmark/serving.py`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

from ci.bench.bench_serving import export
from ci.bench.metrics import Summary, summarise
from ci.bench.records import ErrorKind, RequestRecord
from ci.bench.session import Measured
from ci.errors import UsageError


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


Row = tuple[str, float | None, float | None]


def beside(measured: Measured, foreign: Foreign) -> tuple[Row, ...]:
    """Return name, our figure and theirs, for each figure of ours that they could have."""
    line = export(measured, api="generate", details=False)
    return tuple(
        (key, value, foreign.figures.get(key))
        for key, value in line.items()
        if key.endswith(("_ms", "throughput")) or key in {"completed", "duration", "concurrency"}
    )
