"""`sglang-ci startup` on the real thing: one start, held against two budgets."""

from __future__ import annotations

import pytest

from ci.verdict import Outcome
from tests.live.conftest import Command

pytestmark = pytest.mark.live


@pytest.mark.long
def test_a_phase_over_its_budget_is_named_and_others_pass(command: Command) -> None:
    """The phases of a real start can't be held to budgets."""
    budgets = ("--set", "budgets.port_open=3600", "--set", "budgets.arguments=0.001")
    run = command("startup", "--boots", "1", *budgets)
    assert run.wait() == 1, run.output()
    report = run.report()
    outcomes = {case.name: case.outcome for case in report.checks[0].cases}
    assert outcomes["budget of port open"] is Outcome.PASSED
    assert outcomes["budget of arguments"] is Outcome.FAILED
    assert report.cause.startswith("startup: budget of arguments: arguments took ")
