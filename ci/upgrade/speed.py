"""Whether the new version is slower: the performance gate between both, on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ci.contract.page import cell
from ci.errors import ServerFault, SglangCiError
from ci.gate.sides import Contest, GateSide
from ci.gate.stage import Gate
from ci.report.model import Report
from ci.settings import Settings
from ci.stages import StageResult, Stages, Tell
from ci.verdict import Verdict

NAME = "performance"
UNWANTED = "[upgrade] performance = true, or --performance"
UNBOOTED = "a server of each version"
TOGETHER = "together"
ASKED = ("pairs of blocks", "must not pass", "least effect", "false alarms", "identical answers")
"""What the page tells of how it was asked."""


class Crowded(SglangCiError):
    """A server that ran alone doesn't run beside the other one: that tells nothing of either."""

    verdict = Verdict.INCONCLUSIVE


def contest(settings: Settings) -> Contest | None:
    """Return how both versions are compared; None where that isn't wanted.

    An inconclusive run isn't repeated: nothing waits for the answer, and the page has the bounds.

    Raises:
        UsageError: The gate's settings can't show anything.
    """
    if not settings.upgrade.performance:
        return None
    once = settings.gate.model_copy(update={"repeat": False})
    return Contest.of(settings.model_copy(update={"gate": once}))


@dataclass(frozen=True)
class Race:
    """Both versions, and how they are compared.

    Args:
        versions: The old version and the new one.
        settings: What starts a server of each.
        contest: How they are compared.
    """

    versions: tuple[str, str]
    settings: tuple[Settings, Settings]
    contest: Contest

    async def run(self, stages: Stages, tell: Tell) -> StageResult:
        """Say whether the new version is slower.

        Raises:
            Crowded: Both were up at once, and the new version's server failed.
            ServerFault: It had the machine, or a GPU, for itself, and failed.
        """
        old, new = (
            GateSide(name, image=f"SGLang {version}", settings=settings)
            for name, version, settings in zip(
                ("baseline", "candidate"), self.versions, self.settings, strict=True
            )
        )
        try:
            return await Gate(old, self.contest).run(new, stages, tell)
        except ServerFault as error:
            if self.contest.servers != TOGETHER:
                raise
            hint = 'give each the machine or a GPU for itself by gate.servers = "boots" or "gpus"'
            raise Crowded(
                f"with both servers up: {error}; {hint}", details=error.details
            ) from error


def section(report: Report) -> Iterator[str]:
    """Yield the page's lines on what was measured, or on why nothing was."""
    check = next((check for check in report.checks if check.name == NAME), None)
    if check is None:
        needs = (one.needs for one in report.not_run if one.stage == NAME)
        yield f"Not compared: it needs {next(needs, UNBOOTED)}."
        return
    asked = (f"{name}: {cell(check.facts[name])}" for name in ASKED if name in check.facts)
    if told := "; ".join(asked):
        yield f"{told[0].upper()}{told[1:]}."
        yield ""
    yield "| new against old | verdict | |"
    yield "|---|---|---|"
    for case in check.cases:
        yield f"| {case.name} | {case.outcome} | {cell(case.message)} |"
