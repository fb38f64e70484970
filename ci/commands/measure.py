"""Subcommands that measure servers: one under load, and one against another."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from ci.commands.options import ConfigFile, ReportDir, Set, effective, listed, side
from ci.commands.outcome import one_stage
from ci.commands.server import Url
from ci.errors import UsageError

Concurrency = Annotated[
    list[int] | None,
    typer.Option(help="Requests under way at any time; several for a load each."),
]
Rates = Annotated[
    list[float] | None, typer.Option("--rate", help="Requests a second; several for a load each.")
]
SelfTest = Annotated[
    bool, typer.Option("--self-test", help="Hold the gate against servers of known slowness.")
]
SideArgument = Annotated[
    str,
    typer.Argument(
        metavar="URL|FILE", help="A server's URL, or a settings file that starts one here."
    ),
]


def bench(
    url: Url,
    concurrency: Concurrency = None,
    rate: Rates = None,
    requests: Annotated[int | None, typer.Option(help="Requests of each load.")] = None,
    prompts: Annotated[
        Path | None, typer.Option(help="A file of prompts, JSONL or ShareGPT.")
    ] = None,
    config: ConfigFile = None,
    settings: Set = None,
    report_dir: ReportDir = None,
) -> None:
    """Put a server under load, and say how fast it answered and whether to believe that."""
    from ci.bench.configured import bench_options
    from ci.boot.serving import engine_of
    from ci.gate import stage as performance

    given = listed("bench.concurrency", concurrency) | listed("bench.rate", rate)
    given |= {"bench.requests": str(requests)} if requests is not None else {}
    given |= {"bench.prompts": str(prompts)} if prompts else {}
    at = effective(config, settings, given).settings
    options = bench_options(at.bench, engine_of(at))
    one_stage(at, report_dir, "bench", partial(performance.measure, url, options))


def compare(
    baseline: SideArgument,
    candidate: Annotated[
        str,
        typer.Argument(
            metavar="[URL|FILE]",
            help="The same of the candidate; with --self-test another server of the same image.",
        ),
    ] = "",
    self_test: SelfTest = False,  # noqa: FBT002
    baseline_image: Annotated[
        str, typer.Option(help="The image that the baseline runs, for the report.")
    ] = "",
    config: ConfigFile = None,
    settings: Set = None,
    report_dir: ReportDir = None,
) -> None:
    """Say whether a candidate is slower than a baseline, with known rates of error."""
    from ci.gate import stage as performance

    at = effective(config, settings, {}).settings
    first = side("baseline", baseline, baseline_image)
    second = side("candidate", candidate) if candidate else None
    contest = performance.Contest.of(at, first, *((second,) if second else ()))
    if self_test:
        if contest.servers == performance.BOOTS:
            raise UsageError('--self-test needs servers that stay up: gate.servers is "boots"')
        proof = partial(performance.proof, first, second, contest)
        one_stage(at, report_dir, "compare self-test", proof)
    if second is None:
        raise UsageError(
            "compare needs a candidate beside the baseline, or --self-test for the gate itself"
        )
    gate = performance.Gate(first, contest)
    one_stage(at, report_dir, "compare", partial(gate.run, second))
