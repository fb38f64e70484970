"""What came over the runner's pipe, and what is to be said of a run that ended badly."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass, field

from pydantic import BaseModel

from ci.report.model import Case
from ci.smoke import ANSWERS
from ci.verdict import Outcome

_SHOWN = 40
"""Lines of pytest's output that the case of a bad end keeps."""

_UNSTARTED, _INTERRUPTED, _NONE = 1, 2, 5
_ENDINGS = {
    0: "no case was found",
    _UNSTARTED: "pytest did not start",
    _INTERRUPTED: "pytest was interrupted",
    3: "pytest broke",
    4: "pytest refused to start",
    _NONE: "no case was found",
}
"""pytest's exit codes; 0 and 1 are good ones where cases were found."""


def _same(name: str) -> str:
    """Return a name as it is."""
    return name


class _Progress(BaseModel):
    """How far a process came; what isn't told is left as it was."""

    found: int | None = None
    collected: int | None = None
    running: str = ""
    left: list[str] = []


@dataclass
class Tape:
    """Cases of one process in the order of their ends, and how far it came.

    Attributes:
        on_case: Told of each case.
        name: Returns what a case is called in the report.
        cases: What ended.
        found: How many cases there were before some were selected.
        collected: How many were to run.
        ended: How many of those ended.
        running: The case that runs.
        left: Commands of processes that cases left behind.
    """

    on_case: Callable[[Case], None]
    name: Callable[[str], str] = _same
    cases: list[Case] = field(default_factory=list)
    found: int = 0
    collected: int = 0
    ended: int = 0
    running: str = ""
    left: list[str] = field(default_factory=list)

    @property
    def stopped(self) -> bool:
        """Whether the server is gone, so that nothing else is worth trying."""
        return any(case.name == ANSWERS for case in self.cases)

    def feed(self, line: bytes) -> None:
        """Take one line of the results file; what is no record of ours is left out."""
        try:
            if b'"outcome"' in line:
                self._end(Case.model_validate_json(line))
            else:
                self._note(_Progress.model_validate_json(line))
        except ValueError:
            return

    def _note(self, told: _Progress) -> None:
        self.found = self.found if told.found is None else told.found
        self.collected = self.collected if told.collected is None else told.collected
        self.running = told.running or self.running
        self.left += told.left

    def _end(self, case: Case) -> None:
        if case.name == self.running:
            self.ended, self.running = self.ended + 1, ""
        self.add(case.model_copy(update={"name": self.name(case.name)}))

    def add(self, case: Case) -> None:
        """Keep a case and pass it on."""
        self.cases.append(case)
        self.on_case(case)


def aftermath(
    tape: Tape,
    code: int | None,
    output: str,
    budget: float,
    title: str = "",
    *,
    selecting: bool = False,
) -> Case | None:
    """Return the case "suite" where a run did not end as it should; None where it did.

    Args:
        tape: What the run said.
        code: pytest's exit code, negative for a signal; None where the budget was spent.
        output: What pytest printed.
        budget: Seconds that the run had.
        title: Which cases ran, where others did as well.
        selecting: Whether only some cases were asked for, of which there may be none here.
    """
    problem = (
        f"smoke.budget, {budget:g} s, was spent" if code is None else _problem(tape, code, output)
    )
    if not problem or (selecting and code == _NONE and tape.found):
        return None
    where = f" in case '{tape.name(tape.running)}'" if tape.running else ""
    lines = output.strip().splitlines()[-_SHOWN:]
    return Case(
        name=f"suite {title}".strip(),
        outcome=Outcome.ERROR,
        message=f"{problem}{where}",
        details="\n".join(lines),
    )


def idle(tape: Tape, title: str) -> Case | None:
    """Return a case that says that each of a user's cases was skipped; None where one ran."""
    if not tape.cases or any(case.outcome is not Outcome.SKIPPED for case in tape.cases):
        return None
    first = tape.cases[0]
    message = f"all {len(tape.cases)} were skipped; the first, '{first.name}': {first.message}"
    return Case(name=f"cases of {title}", outcome=Outcome.SKIPPED, message=message)


def _problem(tape: Tape, code: int, output: str) -> str:
    faulty = any(case.outcome in {Outcome.FAILED, Outcome.ERROR} for case in tape.cases)
    if code < 0:
        return f"pytest was ended by {signal.Signals(-code).name}"
    if (tape.stopped and code == _INTERRUPTED) or (faulty and tape.collected == 0):
        return ""
    if code > 1 or tape.collected == 0:
        return _ending(code, output)
    if tape.ended < tape.collected:
        return f"{tape.collected - tape.ended} of {tape.collected} cases gave no result"
    return "pytest counts a failure that no case shows" if code == 1 and not faulty else ""


def _ending(code: int, output: str) -> str:
    """Name an exit code, with the line of the output that says most."""
    known = _ENDINGS.get(code, f"pytest exited with {code}")
    marks = ("ERROR:", "ImportError while loading", "INTERNALERROR> E ", "E   ")
    lines = [line.strip() for line in output.splitlines()]
    told = [line for mark in marks for line in lines if line.startswith(mark.strip())]
    if code == _UNSTARTED and not told:
        told = [line for line in lines if line][-1:]  # of Python's own traceback
    return f"{known}: {' '.join(told[0].split())}" if told else known
