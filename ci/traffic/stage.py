"""Traffic as a stage of a run: streams, their record, and what they show."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict

from ci.secrets import files
from ci.stages import StageResult, Stages, Tell
from ci.traffic.findings import cases, facts, figures, pace_case
from ci.traffic.options import TrafficOptions
from ci.traffic.pace import streams
from ci.traffic.plots import plots
from ci.traffic.records import StreamRecord

NAME = "traffic"
RECORDS = "traffic.jsonl"
"""Every stream, one line each, beside the report."""


async def traffic(url: str, options: TrafficOptions, stages: Stages, tell: Tell) -> StageResult:
    """Send streams to `url`, and judge them; a signal ends that with what was seen until then.

    Raises:
        ServerFault: Nothing answers there.
        InfrastructureFault: The host has no address, or another API key is wanted.
    """
    records: list[StreamRecord] = []
    stages.so_far = lambda: _found(url, options, records)
    with files.lines(stages.folder / RECORDS) as kept:

        def told(record: StreamRecord) -> None:
            records.append(record)
            kept.write(f"{json.dumps(asdict(record))}\n")
            kept.flush()
            stages.progress.live(_words(records))

        try:
            paced = await streams(url, options, told)
        finally:
            for case in cases(records, options) if records else ():
                tell(case)
    for case in () if records else cases(records, options):
        tell(case)
    tell(pace_case(paced))
    return _found(url, options, records)


def _found(url: str, options: TrafficOptions, records: list[StreamRecord]) -> StageResult:
    asked = options.asked
    load = f"{asked.rate:g} streams/s, at most {asked.concurrency} at once"
    return StageResult(
        facts={"url": url, "asked": ", ".join(options.apis), "pace": load} | facts(records),
        figures=tuple(figures(records)),
        plots=tuple(plots(records)),
    )


def _words(records: list[StreamRecord]) -> str:
    counts = Counter(one.ending for one in records)
    return ", ".join(f"{count} {ending}" for ending, count in counts.items())
