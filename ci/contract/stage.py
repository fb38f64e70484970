"""Compares two servers' contracts, each recorded before or asked now, as a stage of a run."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from ci.contract.check import Allowance, accepting, broken, cases
from ci.contract.compare import Compared, compare
from ci.contract.introspect import Interface, introspect, read_interface
from ci.contract.model import Contract, load, save
from ci.contract.page import page, side
from ci.contract.record import record
from ci.contract.rules import ChangeKind
from ci.errors import UsageError
from ci.secrets import files
from ci.server.key import BASELINE_API_KEY, wanted_at
from ci.server.reach import base_url
from ci.settings.contract import ContractSettings
from ci.stages import StageResult, Tell

NAME = "contract"
PAGE = "contract.md"


@dataclass(frozen=True)
class ContractSide:
    """One side of a comparison.

    Args:
        where: A recorded file, or a running server's URL.
        installed: The server's interpreter, or what `interface.py` printed; may be empty.
        key: The API key of a running server; None where it has none of its own.
    """

    where: str
    installed: str = ""
    key: str | None = field(default=None, repr=False)

    async def contract(self, seconds: float) -> Contract:
        """Return the side's contract, recorded now where it is a server.

        Args:
            seconds: Most seconds of one request.

        Raises:
            SglangCiError: It is neither a recording nor an SGLang server that answers.
        """
        if is_url(self.where):
            interface = await installation(self.installed)
            with wanted_at(self.where, self.key, BASELINE_API_KEY):
                return await record(self.where, interface, seconds=seconds)
        if self.installed:
            raise UsageError(f"{self.where} is recorded already: it has no installation to ask")
        return load(Path(self.where))


def is_url(text: str) -> bool:
    """Return whether a side is a server, and not a recorded file."""
    return text.startswith(("http://", "https://"))


def side_named(text: str) -> str:
    """Return what names a side, before anybody is asked.

    Raises:
        UsageError: It is neither a recording nor a server's URL.
    """
    if is_url(text):
        return base_url(text)
    load(Path(text))
    return text


async def installation(text: str) -> Interface | None:
    """Return what an installation says of itself; None where none is named.

    Args:
        text: An interpreter, or a file (.json) that `interface.py` printed.
    """
    if not text:
        return None
    path = Path(text)
    return read_interface(path) if path.suffix == ".json" else await introspect(text)


async def check_contract(
    sides: tuple[ContractSide, ContractSide], settings: ContractSettings, folder: Path, tell: Tell
) -> StageResult:
    """Compare a candidate's contract with a baseline's.

    Args:
        sides: Baseline and candidate.
        settings: What is accepted, and how long a request may take.
        folder: Folder that gets the page and both recordings.
        tell: Is told each case.
    """
    baseline, candidate = [await each.contract(settings.timeout) for each in sides]
    compared, allowance = compare(baseline, candidate), allowance_of(settings)
    for case in cases(compared, allowance):
        tell(case)
    save(baseline, folder / "contract-baseline.json")
    save(candidate, folder / "contract-candidate.json")
    text = page(baseline, candidate, compared, allowance)
    files.write(folder / PAGE, text)
    return StageResult(
        facts={"baseline": side(baseline), "candidate": side(candidate), "page": PAGE}
        | facts(compared, allowance),
    )


def allowance_of(settings: ContractSettings) -> Allowance:
    """Return what the settings accept today, UTC."""
    return accepting(settings.allow, datetime.now(UTC).date())


def facts(compared: list[Compared], allowance: Allowance) -> dict[str, str]:
    """Return what was compared, in one line a part, and which rules nothing needed."""
    found = {}
    for part in compared:
        if not (part.skipped or part.unsure):
            counts = {kind: len(part.of(kind)) for kind in ChangeKind if part.of(kind)}
            told = ", ".join(f"{count} {kind}" for kind, count in counts.items())
            found[part.name] = f"{part.items} items: {told or 'as before'}"
    if unused := allowance.unused(broken(compared)):
        found["allowed in vain"] = ", ".join(rule.item for rule in unused)
    return found
