"""The subcommand that times the start of a server."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from ci.commands.options import ConfigFile, ReportDir, Set, effective, listed
from ci.commands.outcome import one_stage
from ci.commands.server import Flags
from ci.errors import UsageError
from ci.settings import Settings, load

ALONE, PAIRS = 3, 12
"""Starts where none are asked for: of a server alone, and of pairs with a baseline."""
MOST = 500


def startup(
    flags: Flags = None,
    boots: Annotated[
        int | None, typer.Option(min=1, max=MOST, help="Starts, or pairs of them. [default: 3, 12]")
    ] = None,
    baseline: Annotated[
        Path | None,
        typer.Option(help="A settings file that starts a baseline here, or an earlier report."),
    ] = None,
    baseline_flag: Annotated[
        list[str] | None,
        typer.Option(help="Start a baseline here, with these SGLang flags in place of FLAGS."),
    ] = None,
    config: ConfigFile = None,
    settings: Set = None,
    report_dir: ReportDir = None,
) -> None:
    """Start a server here several times, and compare each phase with budgets and a baseline."""
    from ci.report.write import load as load_report
    from ci.startup import stage as room
    from ci.startup.phases import earlier

    candidate = effective(config, settings, listed("server.flags", flags)).settings
    starts_one = baseline is not None and baseline.suffix == ".toml"
    other = _baseline(config, settings, baseline if starts_one else None, baseline_flag)
    before = None
    if baseline and not starts_one:
        if other:
            raise UsageError("--baseline REPORT and --baseline-flag: give one of them")
        before = earlier(load_report(baseline), str(baseline))
    count = boots or (PAIRS if other else ALONE)
    question = room.StartupQuestion(candidate, count, other, before)
    one_stage(candidate, report_dir, "startup", partial(room.startup, question))


def _baseline(
    config: Path | None, settings: list[str] | None, file: Path | None, flags: list[str] | None
) -> Settings | None:
    """Return the settings that start a baseline here; None where none is asked for.

    A file of its own stands alone: `--config` and `--set` are the candidate's.
    """
    own = listed("server.flags", flags)
    if file:
        return load(file, os.environ, own).settings
    return effective(config, settings, own).settings if own else None
