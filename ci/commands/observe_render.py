"""Subcommands that render what watches servers, and run it on this host to look at."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ci.commands.options import ConfigFile, Set, effective
from ci.server.reach import base_url

Out = Annotated[Path, typer.Option(help="The folder; made where it is missing.")]
Environment = Annotated[
    str, typer.Option("--environment", "-e", help="An environment that is deployed to.")
]
Port = Annotated[int, typer.Option(help="Port of the page.", min=1, max=65_535)]
PrometheusPort = Annotated[int, typer.Option(help="Port of Prometheus.", min=1, max=65_535)]
Seconds = Annotated[
    float | None, typer.Option(help="For how long. [default: until it is interrupted]", min=1)
]
Rate = Annotated[
    float | None,
    typer.Option(help="Streams a second to the server. [default: 1, and none with --url]", min=0),
]
RunningUrl = Annotated[
    str | None,
    typer.Option("--url", help="A server that runs already, its base URL.", parser=base_url),
]
Keep = Annotated[Path | None, typer.Option(help="Folder that keeps configuration, data and logs.")]


def render(
    out: Out = Path("observability"), config: ConfigFile = None, settings: Set = None
) -> None:
    """Write what Prometheus, Alertmanager and Grafana need: rules, alerts, their tests, boards."""
    from ci.monitoring.write import rendered, write

    texts = rendered(effective(config, settings, {}).settings)
    write(out, texts)
    for name in texts:
        typer.echo(out / name)


def targets(
    environment: Environment,
    out: Out = Path("observability"),
    config: ConfigFile = None,
    settings: Set = None,
) -> None:
    """Write the slots of an environment as targets, as they are now; repeat it after a deploy."""
    from ci.commands.outcome import awaited
    from ci.commands.remote import grounds_of
    from ci.monitoring import deployed, scraping
    from ci.monitoring.write import listed, write

    grounds = grounds_of(effective(config, settings, {}).settings, environment, config)
    found = deployed.targets(environment, awaited(grounds.looked))
    name = scraping.in_folder(f"{environment}.json")
    write(out, {name: listed(found)})
    typer.echo(f"{out / name}: {len(found)}")


def exporter(
    out: Out = Path("observability"), config: ConfigFile = None, settings: Set = None
) -> None:
    """Serve what each target really is, as metrics, until it is interrupted."""
    from ci.errors import UsageError
    from ci.monitoring import exporter as serving
    from ci.monitoring.scraping import TARGETS

    listen = effective(config, settings, {}).settings.observe.exporter
    try:
        server = serving.serving(out / TARGETS, listen)
    except OSError as error:
        raise UsageError(f"observe.exporter: {listen}: {error.strerror}") from error
    typer.echo(f"http://{listen}/metrics, of the targets in {out / TARGETS}")
    server.serve_forever()


def up(
    url: RunningUrl = None,
    port: Port = 9466,
    prometheus_port: PrometheusPort = 9090,
    seconds: Seconds = None,
    rate: Rate = None,
    keep: Keep = None,
    config: ConfigFile = None,
    settings: Set = None,
) -> None:
    """Start a server, Prometheus, Alertmanager and a page of the boards on this host."""
    import os
    import sys

    from ci.commands.outcome import awaited
    from ci.monitoring.up import UpOptions
    from ci.monitoring.up import up as run
    from ci.report.progress import progress_for

    options = UpOptions(
        url=url or "",
        port=port,
        prometheus=prometheus_port,
        seconds=seconds,
        rate=(0.0 if url else 1.0) if rate is None else rate,
        folder=keep and keep.absolute(),
    )
    if keep:
        keep.mkdir(parents=True, exist_ok=True)
    with progress_for(sys.stdout, os.environ) as progress:
        awaited(run, effective(config, settings, {}).settings, options, progress)
