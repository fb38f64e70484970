"""The example without Dagger, against the real server."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ci.report.write import load
from ci.server.process import ServerProcess
from ci.verdict import Outcome, Verdict
from tests.live.conftest import HANG

pytestmark = pytest.mark.live

EXAMPLE = Path(__file__).parents[2] / "examples" / "command"


def test_example_proves_a_running_server(live_server: ServerProcess, tmp_path: Path) -> None:
    """A user who copies the example gets a report with every stage, and their own case in it."""
    folder = shutil.copytree(EXAMPLE, tmp_path / "command")
    command = tmp_path / "sglang-ci"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m ci "$@"\n')
    command.chmod(0o755)
    ran = subprocess.run(
        [folder / "prove", live_server.url],
        env=os.environ
        | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(EXAMPLE.parents[1])},
        capture_output=True,
        text=True,
        timeout=HANG,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    report = load(folder / "report")
    assert report.verdict is Verdict.PASSED
    assert [check.name for check in report.checks] == ["readiness", "versions", "smoke"]
    mine = [case for case in report.checks[2].cases if "dish" in case.name]
    assert [case.outcome for case in mine] == [Outcome.PASSED]
