"""Subcommands that prove a server: all questions in order, and some of them alone."""

from __future__ import annotations

import os
import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ci.commands.options import (
    ConfigFile,
    ReportDir,
    Set,
    effective,
    lenient,
    listed,
    pairs,
    side,
)
from ci.commands.outcome import awaited, reported
from ci.errors import UsageError
from ci.server.reach import base_url
from ci.settings import Settings

if TYPE_CHECKING:
    from ci.graph.running import Running
    from ci.report.model import Report
    from ci.report.progress import Progress

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
Log = Annotated[Path | None, typer.Option(help="The server's growing log, where it can be read.")]
Inventory = Annotated[
    Path | None, typer.Option(help="What is installed, as ci/image/installed.py printed it.")
]
Label = Annotated[str, typer.Option(help="The version that the image's label claims.")]
LabelRevision = Annotated[
    str, typer.Option(help="The commit of SGLang that the image's label claims.")
]
ModelPath = Annotated[str, typer.Option(help="The model's path, as the server knows it.")]
Facts = Annotated[
    list[str] | None,
    typer.Option("--fact", metavar="NAME=TEXT", help="A fact for the head of the report."),
]
Prompts = Annotated[
    Path | None, typer.Option(help="A file of prompts for the load, JSONL or ShareGPT.")
]
Baseline = Annotated[
    str,
    typer.Option(
        metavar="URL|FILE", help="Compare with this server, or with one of other settings."
    ),
]
BaselineImage = Annotated[
    str, typer.Option(help="The image that the baseline runs, for the report.")
]


HUB_NAME = re.compile(r"(?!\.{1,2}/)[\w.-]+/[\w.-]+")
"""organisation/name, but not a path that says that it is one."""


def ci(
    flags: Flags = None,
    config: ConfigFile = None,
    settings: Set = None,
    model: ModelOption = "",
    smoke: SmokeDirs = None,
    baseline: Baseline = "",
    report_dir: ReportDir = None,
) -> None:
    """Start a real server on this host, prove it, stop it, and leave a report."""
    from ci.commands.before import checked, refuse_settings
    from ci.graph.host import prove_here
    from ci.preflight.asked import Intent

    overrides = model_of(model) | listed("smoke.directories", smoke) | listed("server.flags", flags)
    found, wrong = lenient(config, settings, overrides)
    at = found.settings
    against = side("baseline", baseline) if baseline else None
    intent = Intent.here(at, os.environ, wrong=wrong, config=config, baseline=against)
    refuse_settings(intent)
    reported(at, report_dir, checked(intent, partial(prove_here, at, against)))


def serve(
    flags: Flags = None,
    config: ConfigFile = None,
    settings: Set = None,
    model: ModelOption = "",
) -> None:
    """Start a server in the foreground, as `ci` would, in place of this process."""
    from ci.boot import serving

    overrides = model_of(model) | listed("server.flags", flags)
    awaited(serving.serve, effective(config, settings, overrides).settings)


def prove(
    url: Url,
    log: Log = None,
    inventory: Inventory = None,
    label: Label = "",
    label_revision: LabelRevision = "",
    model_path: ModelPath = "",
    fact: Facts = None,
    smoke: SmokeDirs = None,
    prompts: Prompts = None,
    baseline: Baseline = "",
    baseline_image: BaselineImage = "",
    config: ConfigFile = None,
    settings: Set = None,
    report_dir: ReportDir = None,
) -> None:
    """Ask a server that runs already every question, in order, and leave a report."""
    from ci.graph.running import Running
    from ci.graph.seen import RunOptions

    overrides = listed("smoke.directories", smoke)
    overrides |= {"bench.prompts": str(prompts)} if prompts else {}
    at = effective(config, settings, overrides).settings
    against = side("baseline", baseline, baseline_image) if baseline else None
    running = Running(
        url=url,
        asked=RunOptions.of(at, against),
        log=log,
        inventory=inventory,
        label=label,
        label_revision=label_revision,
        model_path=model_path,
        facts={"engine": "a server that ran already"} | pairs("--fact", "NAME=TEXT", fact),
    )
    reported(at, report_dir, running.prove)


def wait(
    url: Url,
    log: Log = None,
    config: ConfigFile = None,
    settings: Set = None,
    report_dir: ReportDir = None,
) -> None:
    """Wait until a server has given its first token, phase by phase."""
    from ci.boot.readiness import NAME
    from ci.graph.running import Running
    from ci.graph.seen import RunOptions

    at = effective(config, settings, {}).settings
    one_question(Running(url, RunOptions(at), log=log), NAME, report_dir)


def versions(
    url: Url,
    expect: Expect = None,
    inventory: Inventory = None,
    label: Label = "",
    label_revision: LabelRevision = "",
    model_path: ModelPath = "",
    config: ConfigFile = None,
    settings: Set = None,
    report_dir: ReportDir = None,
) -> None:
    """Compare the server's versions with the expected ones."""
    from ci.graph.running import Running
    from ci.graph.seen import RunOptions
    from ci.versions.stage import NAME

    at = effective(config, settings, _expected(expect)).settings
    running = Running(
        url,
        RunOptions(at),
        inventory=inventory,
        label=label,
        label_revision=label_revision,
        model_path=model_path,
    )
    one_question(running, NAME, report_dir)


def smoke(
    url: Url,
    directories: SmokeDirs = None,
    select: Annotated[str, typer.Option("-k", help="A pytest -k expression.")] = "",
    config: ConfigFile = None,
    settings: Set = None,
    report_dir: ReportDir = None,
) -> None:
    """Run the smoke suite, and your own cases, against a server."""
    from ci.graph.running import Running
    from ci.graph.seen import RunOptions
    from ci.smoke.run import NAME

    chosen = {"smoke.select": select} if select else {}
    overrides = chosen | listed("smoke.directories", directories)
    at = effective(config, settings, overrides).settings
    one_question(Running(url, RunOptions(at)), NAME, report_dir)


def fetch(
    name: Annotated[str, typer.Argument(help="A hub model, organisation/name.")],
    revision: Annotated[str, typer.Option(help="Its pinned revision: a commit or tag.")],
) -> None:
    """Fetch a hub model into the local cache, and print its folder."""
    from ci.boot import model_files

    typer.echo(awaited(model_files.fetch, name, revision))


def report(
    paths: Annotated[list[Path], typer.Argument(help="Reports, or folders that hold them.")],
    report_dir: ReportDir = None,
) -> None:
    """Merge reports into one, and render it."""
    from ci.report.model import merge
    from ci.report.write import load

    parts = [load(path) for path in paths]  # the report's folder may be one of them

    async def merged(progress: Progress, _: Path) -> Report:  # noqa: ARG001
        return merge(parts)

    reported(Settings(), report_dir, merged)


def one_question(running: Running, name: str, report_dir: Path | None) -> None:
    """Put one question to a server that runs already, and exit as the answer says."""
    from ci.graph.questions import QUESTIONS

    questions = [question for question in QUESTIONS if question.name == name]
    ask = partial(running.prove, questions=questions)
    reported(running.asked.settings, report_dir, ask)


def model_of(text: str) -> dict[str, str]:
    """Return the settings of `--model`: a folder's, or a hub model's where there is none.

    Raises:
        UsageError: It is a hub's name without a revision.
    """
    name, at, revision = text.partition("@")
    if not text:
        return {}
    if at and not Path(text).exists():
        return {"model.path": "", "model.name": name, "model.revision": revision}
    if HUB_NAME.fullmatch(text) and not Path(text).exists():
        cure = f"a hub's model needs its revision: --model {text}@REVISION"
        raise UsageError(f"--model {text}: there is no such folder, and {cure}")
    return {"model.path": text, "model.name": "", "model.revision": ""}


def _expected(texts: list[str] | None) -> dict[str, str]:
    from packaging.utils import canonicalize_name

    found = {}
    for text, version in pairs("--expect", "NAME=VERSION", texts).items():
        name = canonicalize_name(text)
        key = "image.sglang_version" if name == "sglang" else f"versions.expected.{name}"
        found[key] = version.lstrip("=")
    return found
