"""The `sglang-ci` command: one subcommand a stage, the same names as the Dagger functions.

Exit codes: 0 PASSED, 1 FAILED, 2 usage or configuration, 3 INCONCLUSIVE, 4 ERROR, and
130 or 143 where SIGINT or SIGTERM ended the run.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import anyio
import typer

from ci import pipeline
from ci.checks.versions import canonical
from ci.errors import SglangCiError, UsageError
from ci.report.model import Check, Report, merge
from ci.report.progress import Progress, progress_for
from ci.report.write import ReportFolder, load
from ci.server.reach import base_url
from ci.settings import Effective, Settings
from ci.settings import load as load_settings
from ci.stages import Stages
from ci.verdict import Verdict

EXIT = {Verdict.PASSED: 0, Verdict.FAILED: 1, Verdict.INCONCLUSIVE: 3, Verdict.ERROR: 4}
USAGE = 2

app = typer.Typer(
    name="sglang-ci",
    help="Prove SGLang serving images, from a commit to production.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
config_app = typer.Typer(help="Show the settings.", no_args_is_help=True)
app.add_typer(config_app, name="config")

Url = Annotated[str, typer.Argument(help="The server's base URL.", parser=base_url)]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", help="Configuration file. [default: ./sglang-ci.toml]")
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Set one setting, such as server.port=30001."),
]
ReportDir = Annotated[
    Path | None, typer.Option(help="Folder of the report. [default: report.directory]")
]
Expect = Annotated[
    list[str] | None,
    typer.Option("--expect", metavar="NAME=VERSION", help="An exact version that must be there."),
]
SmokeDirs = Annotated[
    list[Path] | None, typer.Option("--smoke", help="A folder of further smoke cases.")
]
Flags = Annotated[list[str] | None, typer.Argument(help="Further flags of SGLang's own.")]
ModelOption = Annotated[
    str, typer.Option(help="A model folder, or organisation/name@revision of a hub.")
]


@app.command()
def ci(
    flags: Flags = None,
    config: ConfigFile = None,
    settings: Set = None,
    model: ModelOption = "",
    smoke: SmokeDirs = None,
    report_dir: ReportDir = None,
) -> None:
    """Start a real server on this host, prove it, stop it, and leave a report."""
    overrides = _model(model) | _list("smoke.directories", smoke) | _list("server.flags", flags)
    effective = _settings(config, settings, overrides)
    _reported(effective.settings, report_dir, partial(pipeline.prove, effective.settings))


@app.command()
def serve(
    flags: Flags = None,
    config: ConfigFile = None,
    settings: Set = None,
    model: ModelOption = "",
) -> None:
    """Start a server in the foreground, as `ci` would, in place of this process."""
    overrides = _model(model) | _list("server.flags", flags)
    anyio.run(pipeline.serve, _settings(config, settings, overrides).settings)


@app.command()
def wait(
    url: Url,
    log: Annotated[
        Path | None, typer.Option(help="The server's growing log, where it can be read.")
    ] = None,
    config: ConfigFile = None,
    settings: Set = None,
    report_dir: ReportDir = None,
) -> None:
    """Wait until a server has given its first token, phase by phase."""
    at = _settings(config, settings, {}).settings
    _one_stage(at, report_dir, "readiness", partial(pipeline.wait, url, at, log))


@app.command()
def versions(
    url: Url,
    expect: Expect = None,
    inventory: Annotated[
        Path | None, typer.Option(help="What is installed, as ci/checks/inventory.py printed it.")
    ] = None,
    label: Annotated[str, typer.Option(help="The version that the image's label claims.")] = "",
    model_path: Annotated[str, typer.Option(help="The model's path, as the server knows it.")] = "",
    config: ConfigFile = None,
    settings: Set = None,
    report_dir: ReportDir = None,
) -> None:
    """Hold what a server is against what is expected."""
    at = _settings(config, settings, _expected(expect)).settings
    found = pipeline.Facts(inventory=inventory, label=label, model_path=model_path)
    _one_stage(at, report_dir, "versions", partial(pipeline.versions, url, at, found))


@app.command()
def smoke(
    url: Url,
    directories: SmokeDirs = None,
    select: Annotated[str, typer.Option("-k", help="A pytest -k expression.")] = "",
    config: ConfigFile = None,
    settings: Set = None,
    report_dir: ReportDir = None,
) -> None:
    """Run the smoke suite, and your own cases, against a server."""
    chosen = {"smoke.select": select} if select else {}
    overrides = chosen | _list("smoke.directories", directories)
    at = _settings(config, settings, overrides).settings
    _one_stage(at, report_dir, "smoke", partial(pipeline.smoke, url, at))


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="A hub model, organisation/name.")],
    revision: Annotated[str, typer.Option(help="Its pinned revision: a commit or tag.")],
) -> None:
    """Fetch a hub model into the local cache, and print its folder."""
    typer.echo(anyio.run(pipeline.fetch, name, revision))


@app.command()
def report(
    paths: Annotated[list[Path], typer.Argument(help="Reports, or folders that hold them.")],
    report_dir: ReportDir = None,
) -> None:
    """Lay reports together as one, and render it."""
    parts = [load(path) for path in paths]  # the report's folder may be one of them

    async def merged(progress: Progress, _: Path) -> Report:  # noqa: ARG001
        return merge(parts)

    _reported(Settings(), report_dir, merged)


@config_app.command("show")
def config_show(config: ConfigFile = None, settings: Set = None) -> None:
    """Print every setting in force, and where it came from."""
    for name, value, source in _settings(config, settings, {}).rows():
        typer.echo(f"{name} = {value}  ({source})")


@config_app.command("schema")
def config_schema() -> None:
    """Print the JSON schema of sglang-ci.toml, for editors."""
    typer.echo(json.dumps(Settings.model_json_schema(), indent=2))


def _settings(
    config: Path | None, assignments: list[str] | None, overrides: dict[str, str]
) -> Effective:
    flags = {}
    for text in assignments or ():
        key, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"--set {text}: not KEY=VALUE")
        flags[key] = value
    return load_settings(config, os.environ, flags | overrides)


def _list(key: str, values: list[str] | list[Path] | None) -> dict[str, str]:
    texts = [str(value) for value in values or ()]
    return {key: json.dumps(texts, ensure_ascii=False)} if texts else {}


def _model(text: str) -> dict[str, str]:
    name, at, revision = text.partition("@")
    if not text:
        return {}
    if at and not Path(text).exists():
        return {"model.path": "", "model.name": name, "model.revision": revision}
    return {"model.path": text, "model.name": "", "model.revision": ""}


def _expected(pairs: list[str] | None) -> dict[str, str]:
    found = {}
    for text in pairs or ():
        name, equals, version = text.partition("=")
        if not equals:
            raise UsageError(f"--expect {text}: not NAME=VERSION")
        name = canonical(name)
        key = "image.sglang_version" if name == "sglang" else f"versions.expected.{name}"
        found[key] = version.lstrip("=")
    return found


def _one_stage(
    settings: Settings,
    report_dir: Path | None,
    name: str,
    work: Callable[[Stages], Awaitable[Check]],
) -> None:
    async def prove(progress: Progress, _: Path) -> Report:
        stages = Stages(progress)

        async def stage() -> None:
            await stages.run(name, partial(work, stages))

        return await stages.report(stage)

    _reported(settings, report_dir, prove)


def _reported(
    settings: Settings,
    report_dir: Path | None,
    prove: Callable[[Progress, Path], Awaitable[Report]],
) -> None:
    """Open the report's folder, run `prove`, write and show the report, and exit as it says."""
    progress = progress_for(sys.stdout, os.environ)
    with progress, ReportFolder.open(report_dir or settings.report.directory) as folder:
        found = anyio.run(prove, progress, folder.path)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)  # the report is written in an instant
        try:
            folder.write(found)
        except SglangCiError:
            progress.finished(found, None)
            raise
        progress.finished(found, folder.path)
    if found.interrupted:
        raise typer.Exit(128 + signal.Signals[found.interrupted])
    raise typer.Exit(EXIT[found.verdict])


def main() -> None:
    """Run the command and exit; no traceback's exit code ever stands for a verdict."""
    try:
        app()
    except SglangCiError as error:
        typer.echo(f"sglang-ci: {error}", err=True)
        sys.exit(USAGE if isinstance(error, UsageError) else EXIT[error.verdict])
    except Exception:  # noqa: BLE001 - Python's own exit code 1 would read as FAILED
        traceback.print_exc()
        sys.exit(EXIT[Verdict.ERROR])
