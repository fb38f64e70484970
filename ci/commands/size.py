"""The subcommand that weighs an image."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ci.commands.options import ConfigFile, ReportDir, Set, effective
from ci.commands.outcome import one_stage
from ci.commands.registry import needs_extra
from ci.errors import UsageError
from ci.registry.access import Access

if TYPE_CHECKING:
    from collections.abc import Callable

    from ci.image.size import MeasuredImage
    from ci.settings import Settings
    from ci.stages import StageResult, Stages, Tell

Listing = Annotated[
    Path | None,
    typer.Option(help="What is installed in the image, as installed.py printed it inside it."),
]


def size(
    image: Annotated[
        str, typer.Argument(help="An OCI layout, as a tar or a folder, or a registry's reference.")
    ],
    baseline: Annotated[
        str, typer.Option(help="The image to compare with. [default: gate.baseline]")
    ] = "",
    installed: Listing = None,
    baseline_installed: Listing = None,
    platform: Annotated[
        str, typer.Option(help="Platform of the image, where a reference names several.")
    ] = "linux/amd64",
    config: ConfigFile = None,
    settings: Set = None,
    report_dir: ReportDir = None,
) -> None:
    """Compare an image's size, by layer and package, with budgets and with a baseline's size."""
    from anyio import to_thread

    from ci.image.size import NAME, weigh

    at = effective(config, settings, {}).settings
    other = baseline or at.gate.baseline
    if baseline_installed and not other:
        raise UsageError("--baseline-installed needs --baseline beside it")
    read = _reader(at, image, platform, installed)
    read_other = _reader(at, other, platform, baseline_installed) if other else None

    async def weighed(_: Stages, tell: Tell) -> StageResult:
        candidate = await to_thread.run_sync(read, abandon_on_cancel=True)
        other_side = None
        if read_other:
            other_side = await to_thread.run_sync(read_other, abandon_on_cancel=True)
        return weigh(candidate, other_side, at.budgets, tell)

    one_stage(at, report_dir, NAME, weighed)


def _reader(
    settings: Settings, named: str, platform: str, listing: Path | None
) -> Callable[[], MeasuredImage]:
    """Return what reads an image's size; what is wrong with the arguments is raised at once."""
    from ci.image.layout import OciLayout
    from ci.image.listing import Installed
    from ci.image.size import MeasuredImage
    from ci.image.weight import find, measure

    image, installed = find(named), Installed.load(listing) if listing else None
    access = Access() if isinstance(image, OciLayout) else _access(settings)
    return lambda: MeasuredImage(measure(image, access, platform), installed)


def _access(settings: Settings) -> Access:
    """Return how registries are reached; of a layout on this disk no extra packages are needed."""
    needs_extra()
    from ci.release.session import access_of

    return access_of(settings, os.environ)
