"""The subcommand that asks what can be known in seconds, before anything that takes minutes."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ci.commands.options import ConfigFile, ReportDir, Set, lenient, listed, side
from ci.commands.outcome import reported
from ci.commands.server import Flags, ModelOption, SmokeDirs, model_of
from ci.errors import UsageError
from ci.verdict import Outcome

if TYPE_CHECKING:
    from ci.preflight.asked import Finding

PublishTo = Annotated[
    str, typer.Option(metavar="REF", help="Where a release is to go: registry/repository[:tag].")
]


def preflight(
    flags: Flags = None,
    config: ConfigFile = None,
    settings: Set = None,
    model: ModelOption = "",
    smoke: SmokeDirs = None,
    baseline: Annotated[
        str, typer.Option(metavar="URL|FILE", help="What a candidate is to be compared with.")
    ] = "",
    publish_to: PublishTo = "",
    revision: Annotated[str, typer.Option(help="The commit that is to be released.")] = "",
    gpu: Annotated[bool, typer.Option("--gpu", help="Whether the image is one for GPUs.")] = False,  # noqa: FBT002
    label: Annotated[str, typer.Option(help="The version that the image's label claims.")] = "",
    container: Annotated[  # noqa: FBT002
        bool, typer.Option("--container", help="Answer in the words of the module's arguments.")
    ] = False,
    seen: Annotated[
        Path | None, typer.Option(help="What was found already, as a JSON list of cases.")
    ] = None,
    needed: Annotated[  # noqa: FBT002
        bool, typer.Option("--needed", help="Look only at what such a run needs.")
    ] = False,
    report_dir: ReportDir = None,
) -> None:
    """Ask everything that can be known in seconds, and tell all that is wrong at once."""
    from ci.commands.before import checked
    from ci.preflight.asked import Intent

    overrides = model_of(model) | listed("smoke.directories", smoke)
    found, wrong = lenient(config, settings, overrides | listed("server.flags", flags))
    asked = Intent.here(
        found.settings,
        os.environ,
        config=config,
        wrong=wrong,
        container=container,
        everything=not needed,
        publish_to=publish_to,
        revision=revision,
        version=label,
        gpu=gpu,
        baseline=side("baseline", baseline) if baseline else None,
        seen=tuple(_seen(seen)) if seen else (),
    )
    reported(found.settings, report_dir, checked(asked))


def _seen(file: Path) -> Iterator[Finding]:
    """Yield what a file of cases says; what is wrong there, its caller has to give otherwise.

    Raises:
        UsageError: It can't be read, or holds something else.
    """
    from ci.preflight.asked import Finding

    try:
        for one in json.loads(file.read_bytes()):
            outcome = Outcome(one["outcome"])
            yield Finding(one["name"], outcome, one.get("message", ""), usage=True)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"--seen {file}: no list of cases: {error}") from error
