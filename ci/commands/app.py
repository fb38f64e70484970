"""The subcommands put together: one subcommand a stage, the same names as the Dagger functions.

Exit codes: 0 PASSED, 1 FAILED, 2 usage or configuration, 3 INCONCLUSIVE, 4 ERROR, 130 or 143
where SIGINT or SIGTERM ended the run, and 141 where nobody reads standard output any more.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Any

import typer

from ci.commands import config, contract, deploy, health, measure, observe, release, server
from ci.commands.cases import generate_cases
from ci.commands.exposure import exposure
from ci.commands.fuzz import fuzz
from ci.commands.outcome import EXIT, USAGE
from ci.commands.preflight import preflight
from ci.commands.size import size
from ci.commands.startup import startup
from ci.commands.status import status
from ci.commands.streams import OutputLost, guarded_output
from ci.commands.traffic import traffic
from ci.commands.trend import trend
from ci.errors import SettingsError, SglangCiError, UsageError
from ci.secrets.veil import learn_environment, veiled
from ci.verdict import Verdict

INTERRUPTED = 128 + signal.SIGINT

app = typer.Typer(
    name="sglang-ci",
    help="Prove SGLang serving images, from a commit to production.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for command in (
    *(preflight, server.ci, server.prove, server.serve, server.wait, server.versions),
    server.smoke,
    *(measure.bench, measure.compare, startup, size, trend, status),
    *(health.health, health.drain, fuzz),
    *(exposure, traffic, generate_cases, contract.upgrade, server.fetch, server.report),
    deploy.rollback,
):
    app.command()(command)
app.add_typer(contract.app, name="contract")
app.add_typer(release.app, name="release")
app.add_typer(deploy.app, name="deploy")
app.add_typer(observe.app, name="observe")
app.add_typer(config.app, name="config")


def run() -> None:
    """Run the command that the arguments name, and exit as it says."""
    try:
        learn_environment(os.environ)
        with guarded_output():
            _tree()()
    except OutputLost as lost:
        _end(f"sglang-ci: {lost.told}" if lost.told else "", lost.exit_code)
    except SglangCiError as error:
        others = error.others if isinstance(error, SettingsError) else ()
        code = USAGE if isinstance(error, UsageError) else EXIT[error.verdict]
        _end("\n".join(f"sglang-ci: {one}" for one in (error, *others)), code)
    except SystemExit as ended:
        if ended.code == INTERRUPTED:
            _end_interrupted()
        raise
    except KeyboardInterrupt:
        _end_interrupted()
    except Exception:  # noqa: BLE001 - Python's own exit code 1 would read as FAILED
        _end(traceback.format_exc().rstrip(), EXIT[Verdict.ERROR])


@cache
def _tree() -> Callable[[], Any]:
    """Return all commands with their options, which takes longer than most of them then do."""
    return typer.main.get_command(app)


def _end_interrupted() -> None:
    """Exit as an interrupted command does, at once.

    Python itself would end `python -m ci` by the signal, and not by this exit code, where the
    interrupt came while a string was executed, as `dataclass` does on import.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            stream.flush()
    os._exit(INTERRUPTED)


def _end(told: str, code: int) -> None:
    """Say why the command ends, where there is something to say, and exit."""
    if told:
        with suppress(OSError):
            typer.echo(veiled(told), err=True)
    sys.exit(code)
