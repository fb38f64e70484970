"""The smoke suite against a real SGLang with the tiny model."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import anyio
import pytest

from ci.boot.process import ServerProcess
from ci.report.model import Check
from ci.smoke.run import SmokeOptions, run_smoke
from ci.stages import checked
from ci.verdict import Outcome, Verdict
from tests.unit.smoke_runs import who

pytestmark = pytest.mark.live


def smoke(server: ServerProcess, options: SmokeOptions) -> Check:
    """Run smoke cases against the server."""
    return anyio.run(checked, "smoke", partial(run_smoke, server.url, options))


@pytest.mark.parametrize("time", ["first", "again"])
def test_real_server_passes(live_server: ServerProcess, time: str) -> None:
    """A good server passes all it can do, also when its cache is warm; else every image fails."""
    check = smoke(live_server, SmokeOptions())
    assert check.verdict is Verdict.PASSED, check.cause
    skipped = {case.name for case in check.cases if case.outcome is Outcome.SKIPPED}
    busy = {name for name in skipped if name.startswith("stream::comes while it is made")}
    assert {name.partition("::")[0] for name in skipped - busy} == {"embedding"}
    assert who(check).message.startswith("version ")
    assert check.count(Outcome.PASSED) > 60


def test_users_case_runs_beside(live_server: ServerProcess, tmp_path: Path) -> None:
    """A user's own case asks the real server, and its failure fails the check in one line."""
    (tmp_path / "test_own.py").write_text(
        "def test_asks(generate):\n    assert generate('a').output_ids\n"
        "def test_fails(chat):\n    assert chat('a').choices[0].index == 7, 'not the seventh'\n"
    )
    check = smoke(live_server, SmokeOptions(directories=(tmp_path,), builtin=False))
    assert check.cause == "test_own.py::test_fails: not the seventh"
    assert check.count(Outcome.PASSED) == 2
    assert who(check).outcome is Outcome.PASSED
