"""Subcommands that measure servers: one under load, and one against another."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from ci.commands.options import (
    ConfigFile,
    ReportDir,
    Set,
    beside,
    effective,
    listed,
    side,
)
from ci.commands.outcome import one_stage
from ci.commands.server import BaselineImage, Prompts, Url, one_question
from ci.errors import UsageError

Concurrency = Annotated[
    list[int] | None,
    typer.Option(help="Requests in flight at any time; repeat it for more loads."),
]
Rates = Annotated[
    list[float] | None, typer.Option("--rate", help="Requests a second; repeat it for more loads.")
]
SelfTest = Annotated[
    bool, typer.Option("--self-test", help="Check the gate with a server of known slowness.")
]
SideArgument = Annotated[
    str,
    typer.Argument(
        metavar="URL|FILE", help="A server's URL, or a settings file that starts one here."
    ),
]

BaselineAgent = Annotated[
    str,
    typer.Option(metavar="URL", help="The agent that starts the baseline anew in its container."),
]
CandidateAgent = Annotated[
    str, typer.Option(metavar="URL", help="The same of the candidate (ci/health/agent.py).")
]


def bench(
    url: Url,
    concurrency: Concurrency = None,
    rate: Rates = None,
    requests: Annotated[int | None, typer.Option(help="Requests of each load.")] = None,
    prompts: Prompts = None,
    config: ConfigFile = None,
    settings: Set = None,
    report_dir: ReportDir = None,
) -> None:
    """Put a server under load, and say how fast it answered and whether to believe that."""
    from ci.bench.configured import bench_options
    from ci.bench.stage import NAME
    from ci.boot.serving import engine_of
    from ci.graph.running import Running
    from ci.graph.seen import RunOptions

    given = listed("bench.concurrency", concurrency) | listed("bench.rate", rate)
    given |= {"bench.requests": str(requests)} if requests is not None else {}
    given |= {"bench.prompts": str(prompts)} if prompts else {}
    at = effective(config, settings, given).settings
    options = bench_options(at.bench, engine_of(at))
    one_question(Running(url, RunOptions(at, load=options)), NAME, report_dir)


def compare(
    baseline: SideArgument,
    candidate: Annotated[
        str,
        typer.Argument(
            metavar="[URL|FILE]",
            help="The candidate; with --self-test, a second server of the same image.",
        ),
    ] = "",
    self_test: SelfTest = False,  # noqa: FBT002
    baseline_image: BaselineImage = "",
    baseline_agent: BaselineAgent = "",
    agent: CandidateAgent = "",
    config: ConfigFile = None,
    settings: Set = None,
    report_dir: ReportDir = None,
) -> None:
    """Say whether a candidate is slower than a baseline, with known rates of error."""
    from ci.gate.sides import BOOTS, Contest
    from ci.gate.stage import NAME, SELF_TEST, Gate, proof

    at = effective(config, settings, {}).settings
    first = beside(side("baseline", baseline, baseline_image), baseline_agent, at)
    second = beside(side("candidate", candidate), agent, at) if candidate else None
    contest = Contest.of(at, first, *((second,) if second else ()))
    if self_test:
        if contest.servers == BOOTS:
            raise UsageError('--self-test needs servers that stay up: gate.servers is "boots"')
        one_stage(at, report_dir, SELF_TEST, partial(proof, first, second, contest))
    if second is None:
        raise UsageError(
            "compare needs a candidate beside the baseline, or --self-test for the gate itself"
        )
    one_stage(at, report_dir, NAME, partial(Gate(first, contest).run, second))
