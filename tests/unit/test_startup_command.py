"""`sglang-ci startup` with a fake SGLang under the real `launch.sh`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ci.report.write import load
from ci.verdict import Outcome
from tests.fakes.launched import Plan, install
from tests.rare import rare
from tests.unit.commands import Command

pytestmark = [pytest.mark.unit, pytest.mark.usefixtures("impatient")]


def settings(name: str, plan: Plan, budgets: str = "") -> str:
    """Write settings that start a fake SGLang by a plan, and return the file's name."""
    variables = install(Path(name).absolute(), plan)
    lines = [f"{key} = {json.dumps(value)}" for key, value in variables.items()]
    text = "\n".join(["[server]", 'device = "cpu"', "[server.environment]", *lines, budgets])
    Path(f"{name}.toml").write_text(text)
    return f"{name}.toml"


@pytest.mark.long
def test_pairs_of_starts_are_timed_and_kept(command: Command) -> None:
    """Both sides are the same server, or what was timed is lost."""
    loose = "[gate]\nfalse_alarm = 0.45\npower = 0.55\n[budgets]\nstartup_floor = 0.4\n"
    slow = settings("slow", Plan(ready_after=1.2), loose)
    fast = settings("fast", Plan())
    assert command("startup", "--config", slow, "--baseline", fast, "--boots", "4") == 1
    check = load(Path("report")).checks[0]
    failed = [case.name for case in check.cases if case.outcome is Outcome.FAILED]
    assert "serving" in failed
    lines = [json.loads(line) for line in Path("report/starts.jsonl").read_text().splitlines()]
    assert sorted(line["side"] for line in lines) == ["baseline"] * 4 + ["candidate"] * 4
    assert all(line["seconds"]["serving"] > 0.9 for line in lines if line["side"] == "candidate")
    assert "port open took" not in check.cause
    again = command("startup", "--config", fast, "--baseline", "report", "--boots", "1")
    assert again == 0
    assert "baseline" not in {case.name for case in load(Path("report")).checks[0].cases}


@pytest.mark.long
def test_too_few_pairs_are_told_early(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    """An hour of starts ends in INCONCLUSIVE, as was clear after the first pair."""
    slow = settings("slow", Plan(ready_after=0.8))
    assert command("startup", "--config", slow, "--baseline-flag=--x", "--boots", "1") == 3
    assert "1 pairs are too few for every answer to be possible" in capsys.readouterr().out


@pytest.mark.parametrize(("side", "code"), rare([("candidate", 1), ("baseline", 4)]))
def test_a_side_that_does_not_start(command: Command, side: str, code: int) -> None:
    """A broken baseline is blamed on the candidate, or a broken candidate on nobody."""
    good = settings("good", Plan())
    bad = settings("bad", Plan(dies_after=0.1, open_after=60, last_words="ValueError: why"))
    sides = (bad, good) if side == "candidate" else (good, bad)
    asked = ("startup", "--config", sides[0], "--baseline", sides[1], "--boots", "1")
    assert command(*asked) == code
    cause = load(Path("report")).cause
    assert f"start of {side} 1/1" in cause
    assert "ValueError: why" in cause


def test_two_baselines_are_one_too_many(command: Command) -> None:
    """One of two baselines is passed over in silence."""
    settings("sglang-ci", Plan())
    assert command("startup", "--baseline", "report", "--baseline-flag=--x") == 2
    assert command("startup", "--baseline", "nowhere") == 2
    assert command("startup", "--boots", "0") == 2
