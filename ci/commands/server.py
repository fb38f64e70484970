"""Subcommands that prove a server: the whole run, and each of its stages alone."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Annotated

import anyio
import typer
from packaging.utils import canonicalize_name

from ci.boot import serving
from ci.commands.before import checked, refuse_settings
from ci.commands.options import ConfigFile, ReportDir, Set, effective, lenient, listed, side
from ci.commands.outcome import one_stage, reported
from ci.errors import UsageError
from ci.graph import host as pipeline
from ci.preflight.asked import Intent
from ci.report.model import Report, merge
from ci.report.progress import Progress
from ci.report.write import load
from ci.server.reach import base_url
from ci.settings import Settings

Url = Annotated[str, typer.Argument(help="The server's base URL.", parser=base_url)]
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


def ci(
    flags: Flags = None,
    config: ConfigFile = None,
    settings: Set = None,
    model: ModelOption = "",
    smoke: SmokeDirs = None,
    baseline: Annotated[
        str,
        typer.Option(
            metavar="URL|FILE", help="Compare with this server, or with one of other settings."
        ),
    ] = "",
    report_dir: ReportDir = None,
) -> None:
    """Start a real server on this host, prove it, stop it, and leave a report."""
    overrides = model_of(model) | listed("smoke.directories", smoke) | listed("server.flags", flags)
    found, wrong = lenient(config, settings, overrides)
    at = found.settings
    against = side("baseline", baseline) if baseline else None
    asked = Intent.here(at, os.environ, wrong=wrong, config=config, baseline=against)
    refuse_settings(asked)
    reported(at, report_dir, checked(asked, partial(pipeline.prove, at, against)))


def serve(
    flags: Flags = None,
    config: ConfigFile = None,
    settings: Set = None,
    model: ModelOption = "",
) -> None:
    """Start a server in the foreground, as `ci` would, in place of this process."""
    overrides = model_of(model) | listed("server.flags", flags)
    anyio.run(serving.serve, effective(config, settings, overrides).settings)


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
    at = effective(config, settings, {}).settings
    one_stage(at, report_dir, "readiness", partial(pipeline.wait, url, at, log))


def versions(
    url: Url,
    expect: Expect = None,
    inventory: Annotated[
        Path | None, typer.Option(help="What is installed, as ci/image/inventory.py printed it.")
    ] = None,
    label: Annotated[str, typer.Option(help="The version that the image's label claims.")] = "",
    model_path: Annotated[str, typer.Option(help="The model's path, as the server knows it.")] = "",
    config: ConfigFile = None,
    settings: Set = None,
    report_dir: ReportDir = None,
) -> None:
    """Hold what a server is against what is expected."""
    at = effective(config, settings, _expected(expect)).settings
    found = pipeline.Facts(inventory=inventory, label=label, model_path=model_path)
    one_stage(at, report_dir, "versions", partial(pipeline.versions, url, at, found))


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
    overrides = chosen | listed("smoke.directories", directories)
    at = effective(config, settings, overrides).settings
    one_stage(at, report_dir, "smoke", partial(pipeline.smoke, url, at))


def fetch(
    name: Annotated[str, typer.Argument(help="A hub model, organisation/name.")],
    revision: Annotated[str, typer.Option(help="Its pinned revision: a commit or tag.")],
) -> None:
    """Fetch a hub model into the local cache, and print its folder."""
    typer.echo(anyio.run(pipeline.fetch, name, revision))


def report(
    paths: Annotated[list[Path], typer.Argument(help="Reports, or folders that hold them.")],
    report_dir: ReportDir = None,
) -> None:
    """Lay reports together as one, and render it."""
    parts = [load(path) for path in paths]  # the report's folder may be one of them

    async def merged(progress: Progress, _: Path) -> Report:  # noqa: ARG001
        return merge(parts)

    reported(Settings(), report_dir, merged)


def model_of(text: str) -> dict[str, str]:
    """Return the settings that `--model` stands for: a folder, or a hub's name@revision."""
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
        name = canonicalize_name(name)
        key = "image.sglang_version" if name == "sglang" else f"versions.expected.{name}"
        found[key] = version.lstrip("=")
    return found
