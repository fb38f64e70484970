"""The `sglang-ci` command: one subcommand a stage, the same names as the Dagger functions.

Exit codes: 0 PASSED, 1 FAILED, 2 usage or configuration, 3 INCONCLUSIVE, 4 ERROR, and
130 or 143 where SIGINT or SIGTERM ended the run.
"""

from __future__ import annotations

import sys
import traceback

import typer

from ci.commands import config, contract, health, measure, release, server
from ci.commands.cases import generate_cases
from ci.commands.exposure import exposure
from ci.commands.fuzz import fuzz
from ci.commands.outcome import EXIT, USAGE
from ci.commands.size import size
from ci.commands.startup import startup
from ci.commands.trend import trend
from ci.errors import SglangCiError, UsageError
from ci.verdict import Verdict

app = typer.Typer(
    name="sglang-ci",
    help="Prove SGLang serving images, from a commit to production.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for command in (
    *(server.ci, server.prove, server.serve, server.wait, server.versions, server.smoke),
    *(measure.bench, measure.compare, startup, size, trend, health.health, health.drain, fuzz),
    *(exposure, generate_cases, contract.upgrade, server.fetch, server.report),
):
    app.command()(command)
app.add_typer(contract.app, name="contract")
app.add_typer(release.app, name="release")
app.add_typer(config.app, name="config")


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
