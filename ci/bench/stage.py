"""A load as a stage of a run."""

from __future__ import annotations

from functools import partial

from ci.bench import files
from ci.bench.live import Snapshot
from ci.bench.options import BenchOptions
from ci.bench.run import bench
from ci.bench.words import ms
from ci.report.progress import Progress
from ci.stages import StageResult, Stages, Tell

NAME = "bench"


async def measure(url: str, options: BenchOptions, stages: Stages, tell: Tell) -> StageResult:
    """Put the server at `url` under load; the files of what was seen go beside the report."""
    found = await bench(url, options, tell, partial(_show, stages.progress))
    files.write(found, stages.folder)
    return found.result


def _show(progress: Progress, seen: Snapshot) -> None:
    asked = f" of {seen.asked}" if seen.asked else ""
    told = [f"{seen.completed}{asked} requests, {seen.seconds:.0f} s"]
    told += [f"{seen.failed} failed"] if seen.failed else []
    for name, low, high in (
        ("TTFT", seen.ttft_p50, seen.ttft_p99),
        ("TPOT", seen.tpot_p50, seen.tpot_p99),
    ):
        if low is not None and high is not None:
            told.append(f"{name} p50 {ms(low)}, p99 {ms(high)} ms")
    if seen.output_throughput is not None:
        told.append(f"{seen.output_throughput:.0f} tokens/s")
    progress.live(f"{seen.label}: {', '.join(told)}")
