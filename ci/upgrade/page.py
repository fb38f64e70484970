"""The one page on an upgrade, in Markdown: what breaks for this user, what is deprecated, new."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ci.contract.check import Allowance
from ci.contract.compare import Compared, ContractChange
from ci.contract.page import TITLES, cell, most, section
from ci.contract.rules import ChangeKind
from ci.report.model import Case, Check, Report
from ci.report.text import counts
from ci.upgrade import speed
from ci.upgrade.side import UpgradeSide
from ci.verdict import Outcome

PAGE = "upgrade.md"
BAD = {Outcome.FAILED, Outcome.INCONCLUSIVE, Outcome.ERROR}


@dataclass(frozen=True)
class UpgradeFindings:
    """All that is known at the end."""

    report: Report
    old: UpgradeSide
    new: UpgradeSide
    compared: list[Compared]

    def check(self, name: str) -> Check | None:
        """Return a check by its name."""
        return next((check for check in self.report.checks if check.name == name), None)


def page(found: UpgradeFindings, allowance: Allowance) -> str:
    """Return the page."""
    old, new = found.old.version, found.new.version
    lines = [f"# SGLang {old} → {new}: {found.report.verdict}", ""]
    if found.report.cause:
        lines += [cell(found.report.cause), ""]
    facts = found.report.facts
    given = (
        f"your {name}: {cell(facts[name])}" for name in ("flags", "dashboards") if name in facts
    )
    lines += [f"Tried with {'; '.join(given) or 'no flags'}.", ""]
    lines += ["| what was tried | verdict | |", "|---|---|---|"]
    lines += [_row(check) for check in found.report.checks]
    lines += ["", "## What breaks for you", "", *_yours(found), ""]
    lines += ["## Performance", "", *speed.section(found.report), ""]
    lines += ["## What is deprecated", "", *_deprecated(found), ""]
    lines += ["## What else changed", ""]
    for part in found.compared:
        lines += [line.replace("## ", "### ", 1) for line in _rest(part, allowance)]
    if not any(part.changes for part in found.compared):
        lines += ["Nothing that was seen.", ""]
    return "\n".join(lines).rstrip() + "\n"


def _row(check: Check) -> str:
    alone = check.cases[0].message if len(check.cases) == 1 else ""
    said = check.cause or alone or counts(check)
    return f"| {check.name} | {check.verdict} | {cell(said)} |"


def _yours(found: UpgradeFindings) -> Iterator[str]:
    """Yield what fails of the user's own flags and dashboards, and of what the servers did."""
    lines = [f"- {check.name}: {_told(case)}" for check, case in _bad(found)]
    contract = found.check("contract")
    breaches = contract.count(Outcome.FAILED) if contract else 0
    yield from most(lines or ["Nothing of your flags and dashboards, and nothing that was tried."])
    if breaches:
        yield ""
        yield (
            f"The contract has {breaches} breaches more, listed below: whether you rely on them "
            "only you know. Accept by `[contract] allow` what you don't."
        )


def _bad(found: UpgradeFindings) -> Iterator[tuple[Check, Case]]:
    """Yield the cases that stand for themselves; a speed that can't be told breaks nothing."""
    for check in found.report.checks:
        bad = BAD - {Outcome.INCONCLUSIVE} if check.name == speed.NAME else BAD
        if check.name != "contract":
            yield from ((check, case) for case in check.cases if case.outcome in bad)


def _told(case: Case) -> str:
    return f"**{case.outcome}** {case.name}: {cell(case.message)}"


def _deprecated(found: UpgradeFindings) -> Iterator[str]:
    """Yield what is said to go away: of the user's flags, in the log, and newly in the contract."""
    check = found.check("your flags")
    lines = [
        f"- you use {case.name}: {cell(case.message)}"
        for case in (check.cases if check else ())
        if case.outcome is Outcome.PASSED and case.message.startswith("deprecated")
    ]
    lines += [f"- the server warns: {cell(line)}" for line in found.new.warnings]
    for part in found.compared:
        newly = [change for change in part.changes if _newly(change)]
        lines += [f"- {TITLES[part.name]}: `{change.item}`" for change in newly]
    yield from lines or ["Nothing new."]


def _newly(change: ContractChange) -> bool:
    if change.facet == "deprecated":
        return change.after is True
    fresh = change.kind is ChangeKind.NEW and isinstance(change.after, dict)
    return fresh and bool(change.after.get("deprecated"))


def _rest(part: Compared, allowance: Allowance) -> Iterator[str]:
    reason = part.skipped or part.unsure
    if reason:
        yield f"## {TITLES[part.name]}"
        yield ""
        yield f"Not compared: {cell(reason)}."
        yield ""
    yield from section(part, allowance)
