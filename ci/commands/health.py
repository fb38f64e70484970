"""Subcommands that hurt servers: what they say of their health, and how they end."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from ci.commands.options import ConfigFile, ReportDir, Set, effective, listed
from ci.commands.outcome import one_stage
from ci.errors import UsageError
from ci.server.reach import base_url

if TYPE_CHECKING:
    from ci.health.stage import Given

MaybeUrl = Annotated[
    str,
    typer.Argument(
        metavar="[URL]", help="The server's base URL; without one servers are started here."
    ),
]
Pid = Annotated[
    int, typer.Option(min=0, help="The server's parent process on this host, to hurt that too.")
]
Agent = Annotated[
    str, typer.Option(metavar="URL", help="The fault agent beside it (ci/health/agent.py).")
]
Faults = Annotated[
    list[str] | None, typer.Option("--fault", help="What is done; several; by default all.")
]
Scenarios = Annotated[
    list[str] | None, typer.Option("--scenario", help="What it is doing; several; default all.")
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
    """Hold what a server says of its health against what is true, fault by fault."""
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


def _given(url: str, pid: int, agent: str) -> Given:
    from ci.health.stage import Given

    if not url and (pid or agent):
        raise UsageError("--pid and --agent belong to a URL: give it too")
    if pid and agent:
        raise UsageError("give --pid or --agent, not both")
    return Given(base_url(url) if url else "", pid, base_url(agent) if agent else "")
