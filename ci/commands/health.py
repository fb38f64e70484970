"""Subcommands that break servers on purpose: health endpoints, and the shutdown."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from ci.commands.options import ConfigFile, ReportDir, Set, effective, listed
from ci.commands.outcome import one_stage
from ci.errors import UsageError
from ci.server.reach import base_url

if TYPE_CHECKING:
    from ci.health.stage import GivenServer

MaybeUrl = Annotated[
    str,
    typer.Argument(
        metavar="[URL]", help="The server's base URL; without it, servers are started here."
    ),
]
Pid = Annotated[
    int,
    typer.Option(min=0, help="Process id of a server on this host, whose processes may be killed."),
]
Agent = Annotated[
    str, typer.Option(metavar="URL", help="The fault agent beside it (ci/health/agent.py).")
]
Faults = Annotated[
    list[str] | None, typer.Option("--fault", help="A fault to cause; may be repeated.")
]
Scenarios = Annotated[
    list[str] | None,
    typer.Option("--scenario", help="What it is doing when SIGTERM comes; may be repeated."),
]


def health(
    url: MaybeUrl = "",
    pid: Pid = 0,
    agent: Agent = "",
    fault: Faults = None,
    config: ConfigFile = None,
    settings: Set = None,
    report_dir: ReportDir = None,
) -> None:
    """Break a server in several ways, and check whether its health endpoints tell the truth."""
    from ci import engines
    from ci.health import stage

    given = _given(url, pid, agent)
    at = effective(config, settings, listed("health.faults", fault)).settings
    engines.only_sglang(at.engine.profile, "health")
    one_stage(at, report_dir, stage.HEALTH, partial(stage.health, given, at))


def drain(
    url: MaybeUrl = "",
    pid: Pid = 0,
    agent: Agent = "",
    scenario: Scenarios = None,
    config: ConfigFile = None,
    settings: Set = None,
    report_dir: ReportDir = None,
) -> None:
    """Send SIGTERM to a server that works, and say what was lost."""
    from ci import engines
    from ci.health import stage

    given = _given(url, pid, agent)
    if url and not (pid or agent):
        raise UsageError("drain ends the server: name its process with --pid, or no URL")
    at = effective(config, settings, listed("drain.scenarios", scenario)).settings
    engines.only_sglang(at.engine.profile, "drain")
    one_stage(at, report_dir, stage.DRAIN, partial(stage.drain, given, at))


def _given(url: str, pid: int, agent: str) -> GivenServer:
    from ci.health.stage import GivenServer

    if not url and (pid or agent):
        raise UsageError("--pid and --agent belong to a URL: give it too")
    if pid and agent:
        raise UsageError("give --pid or --agent, not both")
    return GivenServer(base_url(url) if url else "", pid, base_url(agent) if agent else "")
