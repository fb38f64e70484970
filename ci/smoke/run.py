"""Runs the smoke suite, and users' own cases, as one check.

Each part runs in a process of its own, one after the other: whatever a case does, its process
and all that it started are gone when the part is. Cases arrive over a pipe as they end.
"""

from __future__ import annotations

import tempfile

import anyio

from ci import engines
from ci.concurrency import one_error
from ci.report.model import Case
from ci.secrets.veil import beginning
from ci.smoke.lookout import Lookout
from ci.smoke.options import SmokeOptions
from ci.smoke.parts import SuitePart, parts
from ci.smoke.process import run_pytest, text_of
from ci.smoke.tape import Tape, aftermath, idle
from ci.stages import StageResult, Tell, untold
from ci.verdict import Outcome

__all__ = ["NAME", "SmokeOptions", "run_smoke"]

NAME = "smoke"
"""Name of the check."""

_COMMAND = 120
"""Most characters of a command that are shown."""
_LAST_LOOK = 5.0
"""Most seconds in which a server that stopped answering, or was too slow, may say who it is."""


async def run_smoke(url: str, options: SmokeOptions, tell: Tell = untold) -> StageResult:
    """Run smoke cases against the server at `url`; `tell` gets each as it ends.

    There is a case "suite", ERROR, where pytest ended otherwise than it should or spent
    the budget: results that are missing are never taken for passed ones.

    Raises:
        UsageError: `url` is not the URL of a server.
    """
    client = engines.profile(options.engine).client(url, timeout=options.timeout)
    async with client:
        run = _Run(url, options, tell, Lookout(client))
        await run.all()
    return StageResult(facts=run.facts())


class _Run:
    """One run, part after part.

    Attributes:
        cases: What ended, in that order.
    """

    def __init__(self, url: str, options: SmokeOptions, tell: Tell, lookout: Lookout) -> None:
        self._url, self._options, self._tell, self._lookout = url, options, tell, lookout
        self._parts = parts(options.directories, builtin=options.builtin)
        self._tapes: list[Tape] = []
        self._whole = True
        self.cases: list[Case] = []

    async def all(self) -> None:
        """Run every part, unless the budget is spent or the server is gone."""
        deadline = anyio.current_time() + self._options.budget
        with one_error():
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._lookout.run)
                for part in self._parts:
                    self._whole = await self._part(part, deadline)
                    if not self._whole:
                        break
                tasks.cancel_scope.cancel()
        if not self.cases:
            select = self._options.select
            message = f"no case matches -k {select!r}" if select else "no case was found"
            self._take(Case(name="suite", outcome=Outcome.ERROR, message=message))
        await self._who()

    async def _part(self, part: SuitePart, deadline: float) -> bool:
        """Run one part; return whether the next makes sense."""
        tape, code = Tape(self._take, part.name), None
        self._tapes.append(tape)
        title = part.title if len(self._parts) > 1 else ""
        with tempfile.TemporaryFile() as output:
            with anyio.CancelScope(deadline=deadline):
                code = await run_pytest(self._url, self._options, part, tape.feed, output)
            at, text = self._options, text_of(output)
            problem = aftermath(tape, code, text, at.budget, title, selecting=bool(at.select))
        for case in (problem, None if part.packaged else idle(tape, part.title)):
            if case:
                tape.add(case)
        return code is not None and not tape.stopped

    async def _who(self) -> None:
        """Say whether it was one server that answered, as far as that isn't said already."""
        stopped = any(tape.stopped for tape in self._tapes)
        await self._lookout.end(self._options.timeout if self._whole else _LAST_LOOK)
        watched = self._lookout.watched
        if stopped and not watched.change:
            return
        case = watched.case()
        ran = any(one.outcome is not Outcome.SKIPPED for one in self.cases)
        if case.outcome is Outcome.PASSED and not ran:
            case = case.model_copy(update={"outcome": Outcome.SKIPPED, "message": "no case ran"})
        self._take(case)

    def _take(self, case: Case) -> None:
        self.cases.append(case)
        self._tell(case)
        self._lookout.show(case)

    def facts(self) -> dict[str, str]:
        """Return what is worth knowing beside the cases."""
        left = [beginning(command, _COMMAND) for tape in self._tapes for command in tape.left]
        told = {"processes that cases left, ended": ", ".join(left)} if left else {}
        collected = sum(tape.collected for tape in self._tapes)
        return {"url": self._url, "cases collected": str(collected)} | told
