"""Runs of the smoke check in a process of its own, bounded in time."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import anyio

from ci.report.model import Case, Check
from ci.server import identity
from ci.smoke.run import SmokeOptions, run_smoke
from ci.stages import checked
from ci.verdict import Outcome

NOWHERE = "http://127.0.0.1:1"
"""No server is there: for files that ask for none."""

HANG_LIMIT = 60.0
"""Seconds after which a run counts as hung; far above what any takes."""


def run(url: str, options: SmokeOptions, seen: list[Case] | None = None) -> Check:
    """Run the check to its end."""
    heard = seen if seen is not None else []

    async def bounded() -> Check:
        with anyio.fail_after(HANG_LIMIT):
            return await checked("smoke", partial(run_smoke, url, options), heard.append)

    return anyio.run(bounded)


def own(folder: Path, text: str, url: str = NOWHERE, **options: Any) -> Check:
    """Run one file of a user's, without the suite."""
    folder.mkdir(exist_ok=True)
    (folder / "test_mine.py").write_text(text)
    return run(url, SmokeOptions(directories=(folder,), builtin=False, **options))


def outcomes(check: Check) -> dict[str, Outcome]:
    """Return each case's outcome by name, without the one on who answers."""
    return {case.name: case.outcome for case in check.cases if case.name != identity.NAME}


def messages(check: Check) -> dict[str, str]:
    """Return each case's one line by name."""
    return {case.name: case.message for case in check.cases}


def who(check: Check) -> Case:
    """Return the case on who answers."""
    return next(case for case in check.cases if case.name == identity.NAME)
