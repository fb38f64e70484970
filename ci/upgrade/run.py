"""The upgrade from one SGLang version to another: both tried, compared, and one page on it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ci.boards.judge import cases as board_cases
from ci.boards.model import Board
from ci.boot.model_files import resolve
from ci.contract.check import cases as contract_cases
from ci.contract.compare import Compared, compare
from ci.contract.model import ContractPart
from ci.contract.stage import allowance_of
from ci.gate.sides import Contest
from ci.report.model import Case, Report
from ci.report.progress import Progress
from ci.secrets import files
from ci.settings import Settings
from ci.stages import StageResult, Stages, Tell
from ci.upgrade import flags, greedy, speed
from ci.upgrade.environments import Installer
from ci.upgrade.page import PAGE, UpgradeFindings, page
from ci.upgrade.side import UpgradeSide
from ci.verdict import Outcome

UNKNOWN = ContractPart(unknown="the version could not be installed")


@dataclass(frozen=True)
class Upgrade:
    """What is asked.

    Args:
        versions: The old version and the new one.
        settings: The user's settings: model, flags, budgets, accepted changes.
        boards: The user's dashboards, and the rules that they stand on.
        installer: What installs both.
        contest: How their speed is compared; not at all where None.
    """

    versions: tuple[str, str]
    settings: Settings
    boards: tuple[Board, ...]
    installer: Installer
    contest: Contest | None = None

    async def advise(self, progress: Progress, folder: Path) -> Report:
        """Try both versions, and report; the page goes beside the report."""
        stages = Stages(progress, folder)
        old, new = (
            UpgradeSide(self.versions[0], baseline=True),
            UpgradeSide(self.versions[1], baseline=False),
        )

        async def work() -> None:
            for side in (old, new):
                await side.explore(self.settings, self.installer, stages)
            for name, cases in (await self._questions(old, new)).items():
                await stages.run(name, partial(_judged, cases))
            await self._race(old, new, stages)

        stages.facts |= self._facts()
        report = await stages.report(work)
        plain = _without(report, self.installer.folder)
        findings = UpgradeFindings(plain, old, new, self._compared(old, new))
        text = page(findings, allowance_of(self.settings.contract))
        files.write(folder / PAGE, text)
        return report.model_copy(update={"facts": report.facts | {"page": PAGE}})

    async def _questions(self, old: UpgradeSide, new: UpgradeSide) -> dict[str, list[Case]]:
        """Return the cases of each comparison."""
        found: dict[str, list[Case]] = {}
        words = (
            *(await resolve(self.settings.model)).flags,
            *self.settings.launch_flags(),
        )
        found["your flags"] = list(flags.cases(words, _part(old, "flags"), _part(new, "flags")))
        if self.boards:
            sides = (_part(old, "metrics"), _part(new, "metrics"))
            found["your dashboards"] = list(board_cases(self.boards, *sides))
        allowance = allowance_of(self.settings.contract)
        others = [part for part in self._compared(old, new) if part.name != "flags"]
        found["contract"] = list(contract_cases(others, allowance)) or [_nothing()]
        if old.outputs and new.outputs:
            found["outputs"] = [greedy.case((old.outputs[0], new.outputs[0]), old.outputs[1])]
        return found

    async def _race(self, old: UpgradeSide, new: UpgradeSide, stages: Stages) -> None:
        """Compare the speed of both, where that is wanted and both came up."""
        if self.contest is None:
            stages.left_out(speed.NAME, speed.UNWANTED)
        elif old.settings is None or new.settings is None:
            stages.left_out(speed.NAME, speed.UNBOOTED)
        else:
            race = speed.Race(self.versions, (old.settings, new.settings), self.contest)
            await stages.run(speed.NAME, partial(race.run, stages))

    def _facts(self) -> dict[str, str]:
        names = ", ".join(board.name for board in self.boards) or "none"
        told = {"flags": " ".join(self.settings.launch_flags()) or "none", "dashboards": names}
        return dict(zip(("from", "to"), self.versions, strict=True)) | told

    @staticmethod
    def _compared(old: UpgradeSide, new: UpgradeSide) -> list[Compared]:
        if old.contract is None or new.contract is None:
            return []
        return compare(old.contract, new.contract)


def _without(report: Report, folder: Path) -> Report:
    """Return a report that doesn't name a folder of this machine: the page may be published."""
    text = report.model_dump_json().replace(json.dumps(str(folder))[1:-1], "…")
    return Report.model_validate_json(text)


def _part(side: UpgradeSide, name: str) -> ContractPart:
    return side.contract.part(name) if side.contract else UNKNOWN


def _nothing() -> Case:
    why = "one of the versions could not be installed"
    return Case(name="contract", outcome=Outcome.INCONCLUSIVE, message=why)


async def _judged(cases: Iterable[Case], tell: Tell) -> StageResult:
    for case in cases:
        tell(case)
    return StageResult()
