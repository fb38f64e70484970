"""The performance stage of an upgrade: when it runs, what it may blame, and what the page says."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial
from pathlib import Path

import anyio
import pytest

from ci.contract.check import accepting
from ci.errors import ServerFault, UsageError
from ci.gate.sides import Contest, GateSide
from ci.gate.stage import Gate
from ci.report.model import Case, Check, NotRun, Report, now
from ci.report.progress import progress_for
from ci.settings import Settings
from ci.stages import StageResult, Stages, Tell, checked
from ci.upgrade import speed
from ci.upgrade.environments import Installer
from ci.upgrade.page import PAGE, UpgradeFindings, page
from ci.upgrade.run import Upgrade
from ci.upgrade.side import UpgradeSide as Version
from ci.verdict import Outcome, Verdict
from tests.readme import readme
from tests.unit.commands import Command

pytestmark = pytest.mark.unit

TTFT = Case(name="ttft", outcome=Outcome.FAILED, message="slower: +30 %")
SLOWER = Check(
    name="compare", started=now(), seconds=1, cases=(TTFT,), facts={"pairs of blocks": "12"}
)


def settings(**gate: object) -> Settings:
    """Return settings with values of the gate."""
    return Settings.model_validate({"gate": gate})


def race(contest: Contest | None = None, **gate: object) -> speed.Race:
    """Return a comparison of two versions, whose servers nobody starts."""
    at = settings(**gate)
    found = contest or speed.contest(at)
    assert found
    return speed.Race(("1.0", "1.1"), (at, settings(pairs=1)), found)


def seen(monkeypatch: pytest.MonkeyPatch, found: Check | Exception) -> list[GateSide]:
    """Let the gate find something; return the sides that it is asked of."""
    asked: list[GateSide] = []

    async def run(gate: Gate, candidate: GateSide, _: Stages, tell: Tell) -> StageResult:
        asked.extend((gate.baseline, candidate))
        if isinstance(found, Exception):
            raise found
        for case in found.cases:
            tell(case)
        return StageResult(facts=found.facts)

    monkeypatch.setattr(Gate, "run", run)
    return asked


def stages(folder: Path) -> Stages:
    """Return the stages of a run that nobody watches."""
    return Stages(progress_for(io.StringIO(), {}), folder)


def test_one_bounded_run_unless_it_is_unwanted() -> None:
    """An upgrade takes twice the pairs, or compares what nobody wants to be compared."""
    found = speed.contest(settings(pairs=12))
    assert found
    assert max(look.pairs for look in found.options.schedule.looks(found.options.rule)) == 12
    assert speed.contest(Settings.model_validate({"upgrade": {"performance": False}})) is None
    with pytest.raises(UsageError, match="can't show anything"):
        speed.contest(settings(pairs=2))


def test_each_version_is_started_as_itself(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The old version runs against itself, or the wrong one is called slow."""
    asked = seen(monkeypatch, SLOWER)
    ours = race()
    check = anyio.run(checked, speed.NAME, partial(ours.run, stages(tmp_path)))
    assert check.verdict is Verdict.FAILED
    assert [(side.name, side.image) for side in asked] == [
        ("baseline", "SGLang 1.0"),
        ("candidate", "SGLang 1.1"),
    ]
    assert tuple(side.settings for side in asked) == ours.settings


@pytest.mark.parametrize(
    ("servers", "blamed"), [("together", False), ("boots", True), ("gpus", True)]
)
def test_a_crowded_machine_is_no_fault_of_the_version(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, servers: str, *, blamed: bool
) -> None:
    """Two servers that don't fit on one GPU fail every upgrade."""
    seen(monkeypatch, ServerFault("out of memory"))
    work = partial(race(servers=servers).run, stages(tmp_path))
    with pytest.raises(ServerFault if blamed else speed.Crowded, match="out of memory") as raised:
        anyio.run(checked, speed.NAME, work)
    assert raised.value.verdict is (Verdict.FAILED if blamed else Verdict.INCONCLUSIVE)


def report(*checks: Check, not_run: tuple[NotRun, ...] = ()) -> Report:
    """Return a report."""
    return Report(started=now(), finished=now(), checks=checks, not_run=not_run)


def test_the_page_has_verdict_and_figures() -> None:
    """A page says that the new version is slow, and not by how much or how that was asked."""
    text = "\n".join(speed.section(report(SLOWER.model_copy(update={"name": speed.NAME}))))
    assert "Pairs of blocks: 12." in text
    assert "| ttft | FAILED | slower: +30 % |" in text


@pytest.mark.parametrize(("outcome", "listed"), [(Outcome.FAILED, 1), (Outcome.INCONCLUSIVE, 0)])
def test_a_speed_that_cannot_be_told_breaks_nothing(outcome: Outcome, listed: int) -> None:
    """A busy machine's noise is listed among what breaks for the user, or a slow version isn't."""
    case = TTFT.model_copy(update={"outcome": outcome})
    found = report(SLOWER.model_copy(update={"name": speed.NAME, "cases": (case,)}))
    sides = (Version("1.0", baseline=True), Version("1.1", baseline=False))
    text = page(UpgradeFindings(found, *sides, []), accepting())
    first, second = text.index("## What breaks for you"), text.index("## Performance")
    assert text[first:second].count("ttft") == listed
    assert text.count(f"| ttft | {outcome} |") == 1


@pytest.mark.parametrize("booted", [False, True])
@pytest.mark.parametrize("wanted", [False, True])
def test_what_is_not_compared_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, wanted: bool, booted: bool
) -> None:
    """A page without a word on speed reads as if that were equal, or a stage asks for nothing."""

    async def explore(self: Version, at: Settings, *_: object) -> None:
        self.settings = at if booted or self.baseline else None

    seen(monkeypatch, SLOWER)
    monkeypatch.setattr(Version, "explore", explore)
    contest = speed.contest(Settings()) if wanted else None
    asked = Upgrade(("1.0", "1.1"), Settings(), (), Installer(tmp_path), contest)
    found = anyio.run(asked.advise, progress_for(io.StringIO(), {}), tmp_path)
    ran = [check.name for check in found.checks if check.name == speed.NAME]
    text = (tmp_path / PAGE).read_text()
    if wanted and booted:
        assert ran == [speed.NAME]
        assert "performance: **FAILED** ttft" in text
        return
    needs = speed.UNBOOTED if wanted else speed.UNWANTED
    assert not ran
    assert f"Not compared: it needs {needs}." in text
    assert NotRun(stage=speed.NAME, needs=needs) in found.not_run


@pytest.mark.parametrize(
    ("given", "code"),
    [((), 2), (("--no-performance",), 4)],
    ids=["a gate that can't be", "left out"],
)
def test_a_gate_that_cannot_be_is_said_before_anything_is_installed(
    command: Command, tmp_path: Path, given: tuple[str, ...], code: int
) -> None:
    """Gigabytes are installed before a typing error is told; or the option isn't listened to."""
    made: Callable[[str], str] = lambda name: f"upgrade.{name}={tmp_path / name}"  # noqa: E731
    (tmp_path / "uv").write_text("#!/bin/sh\nexit 2\n")
    (tmp_path / "uv").chmod(0o755)
    (tmp_path / "grafana.json").write_text('{"expr": "sum(sglang:num_running_reqs)"}')
    at = ("--set", made("uv"), "--set", made("environments"), "--set", "gate.pairs=2")
    assert command(*readme("sglang-ci upgrade")[1:], *at, *given) == code
