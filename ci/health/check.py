"""Does to a server what happens to servers, and compares what it says with what is true."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from ci.health import table
from ci.health.advice import advise, compose, kubernetes
from ci.health.experiments import DEADLY, FAULTS, HARMLESS, Observation, observe
from ci.health.judge import judge, skipped
from ci.health.servers import Servers
from ci.report.model import Case, Phase
from ci.secrets import files
from ci.settings import ReadinessSettings
from ci.stages import StageResult, Tell
from ci.verdict import Outcome

if TYPE_CHECKING:
    from ci.settings.health import HealthSettings

UNREACHABLE = "needs the server's processes: run it without a URL, or with --pid on its host"
SPENT = "an earlier fault has ended the server that was given"


@dataclass
class FaultFindings:
    """What was seen of all faults.

    Args:
        url: The server's base URL, where it was given.
        settings: The budgets.
        tell: Is told each case as soon as it is known.
        note: Is told what is done next.
        readiness: The budgets of a start, for the advice on probes.
    """

    url: str
    settings: HealthSettings
    tell: Tell
    note: Callable[[str], None]
    seen: list[Observation] = field(default_factory=list)
    readiness: ReadinessSettings = field(default_factory=ReadinessSettings)

    async def work(self, servers: Servers) -> None:
        """Bring about each fault that can be, and judge what was seen."""
        spent = False
        for fault in self.chosen():
            self.note(fault)
            target = await servers.get(fault)
            if target is None and (fault not in HARMLESS or spent):
                self.tell(skipped(fault, SPENT if spent else UNREACHABLE))
                continue
            url = target.url if target else self.url
            seen = await observe(fault, url, target, self.settings)
            self.seen.append(seen)
            cases = list(judge(seen, self.settings))
            for case in cases:
                self.tell(case)
            if fault in DEADLY or any(_lasting(case) for case in cases):
                spent = True
                await servers.spend()

    def chosen(self) -> Iterator[str]:
        """Yield the faults that the settings want, in the order in which they are done."""
        return (fault for fault in FAULTS if fault in (self.settings.faults or FAULTS))


def _lasting(case: Case) -> bool:
    return case.name.endswith(": recovers") and case.outcome is Outcome.FAILED


async def check_health(found: FaultFindings, servers: Servers, folder: Path) -> StageResult:
    """Hurt servers, and judge whether they tell the truth; its files go to `folder`."""
    begin = anyio.current_time()
    await found.work(servers)
    facts = table.rows(found.seen, found.settings.timeout) | _written(found, folder)
    return StageResult(
        phases=tuple(
            Phase(name=one.fault, start=one.begun - begin, seconds=one.ended - one.begun)
            for one in found.seen
        ),
        facts=facts,
    )


def _written(found: FaultFindings, folder: Path) -> dict[str, str]:
    """Write the table, every answer and the advice to `folder`; return the advice as facts."""
    timeout = found.settings.timeout
    texts = {
        "truth.md": table.markdown(found.seen, timeout),
        "answers.jsonl": table.jsonl(found.seen),
    }
    facts = {}
    if advice := advise(found.seen, found.settings, found.readiness):
        facts = {
            "advice": advice.why,
            "probes for Kubernetes": kubernetes(advice),
            "health check for Compose": compose(advice),
        }
        texts |= {"probes.yaml": kubernetes(advice), "compose.yaml": compose(advice)}
    for name, text in texts.items():
        files.write(folder / name, text)
    return facts
