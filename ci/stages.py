"""Runs stages one after the other into a report, whatever happens in between.

A stage tells its cases as it finds them, and returns what else it found; its check is made
here. A stage that raises becomes a check that says so; a signal ends the run, and the report
says that it was interrupted and keeps what was found until then.
"""

from __future__ import annotations

import platform
import signal
import traceback
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import anyio
from anyio.abc import TaskStatus

from ci import __version__
from ci.concurrency import one_error, unless
from ci.errors import CheckBroken, SglangCiError
from ci.report.model import Case, Check, Figure, NotRun, Phase, Plot, Report, now
from ci.report.progress import Progress
from ci.verdict import Outcome, Verdict

LAST_LOOK = 1.0
"""Seconds in which a dead server's end is told; a refused connection may be seen before it."""


@dataclass(frozen=True)
class StageResult:
    """What a stage found beside its cases; each part as in `ci.report.model.Check`."""

    phases: tuple[Phase, ...] = ()
    facts: dict[str, str] = field(default_factory=dict)
    figures: tuple[Figure, ...] = ()
    plots: tuple[Plot, ...] = ()
    log: str = ""


Tell = Callable[[Case], None]
"""Takes in a case as soon as it is known."""
Work = Callable[[Tell], Awaitable[StageResult]]
"""A stage: it tells its cases, and returns the rest of what it found."""
Death = Callable[[], Awaitable[SglangCiError]]
"""Returns why the server ended, as soon as it has."""


def untold(case: Case) -> None:
    """Take in a case that nobody waits for."""


async def checked(name: str, work: Work, tell: Tell = untold) -> Check:
    """Return the check that a stage makes by itself, outside of a run; its errors are raised.

    Args:
        name: The check's name.
        work: The stage.
        tell: Is told each case as soon as it is known.
    """
    return await _Asked(name, tell).check(work)


class _Asked:
    """One stage while it runs: when it began, and the cases so far."""

    def __init__(self, name: str, tell: Tell) -> None:
        self._name, self._tell = name, tell
        self._cases: list[Case] = []
        self._started, self._begin = now(), anyio.current_time()

    async def check(self, work: Work) -> Check:
        return self._made(await work(self.case), tuple(self._cases))

    def case(self, case: Case) -> None:
        self._cases.append(case)
        self._tell(case)

    def ended_by(self, error: SglangCiError, found: StageResult) -> Check:
        """Return the check of a stage that did not come to its end, with what it found by then."""
        end = _end(error)
        self._tell(end)
        return self._made(found, (end, *self._cases))

    def _made(self, found: StageResult, cases: tuple[Case, ...]) -> Check:
        return Check(
            name=self._name,
            started=self._started,
            seconds=anyio.current_time() - self._begin,
            cases=cases,
            phases=found.phases,
            facts=found.facts,
            figures=found.figures,
            plots=found.plots,
            log=found.log,
        )


class Stages:
    """The stages of one run, in the order in which they ran.

    Args:
        progress: Who is told.
        folder: Where a stage may leave files of its own, beside the report.

    A stage that publishes sets `published` to the reference by digest, for the report. One that
    is worth something when it is cut short sets `so_far`, which returns what it found by then.
    """

    def __init__(self, progress: Progress, folder: Path = Path()) -> None:
        self.progress, self.folder = progress, folder
        self.facts: dict[str, str] = {}
        self.published = ""
        self.so_far: Callable[[], StageResult] = StageResult
        self._checks: list[Check] = []
        self._left_out: list[NotRun] = []
        self._interrupted = ""

    @property
    def checks(self) -> tuple[Check, ...]:
        """What was found so far."""
        return tuple(self._checks)

    @property
    def interrupted(self) -> str:
        """Name of the signal that is ending the run; empty for none."""
        return self._interrupted

    def adopt(self, checks: Iterable[Check], left_out: Iterable[NotRun] = ()) -> None:
        """Keep checks that were made, and told, elsewhere, and what was left out there."""
        self._checks.extend(checks)
        self._left_out.extend(left_out)

    def left_out(self, stage: str, needs: str) -> None:
        """Say that a stage isn't run, and what it would need."""
        self.progress.note(f"{stage}: not run, needs {needs}")
        self._left_out.append(NotRun(stage=stage, needs=needs))

    async def report(
        self, work: Callable[[], Awaitable[None]], *, not_run: tuple[NotRun, ...] = ()
    ) -> Report:
        """Do `work`, which runs stages, and report them, with what `facts` holds by then.

        SIGINT and SIGTERM cancel `work`; what it holds open is closed before this returns,
        and further signals change nothing.
        """
        started = now()
        with one_error():
            async with anyio.create_task_group() as tasks:
                with anyio.CancelScope() as scope:
                    await tasks.start(self._signals, scope)
                    await work()
                tasks.cancel_scope.cancel()
        here = {
            "sglang-ci": __version__,
            "python": platform.python_version(),
            "machine": platform.machine(),
        }
        return Report(
            started=started,
            finished=now(),
            checks=tuple(self._checks),
            not_run=(*not_run, *self._left_out),
            interrupted=self._interrupted,
            published=self.published,
            facts=self.facts | here,
        )

    async def run(
        self,
        name: str,
        work: Work,
        *,
        budget: float | None = None,
        death: Death | None = None,
    ) -> Check:
        """Run one stage, keep its check, and return it.

        Args:
            name: The check's name.
            work: What asks the question.
            budget: Most seconds, to be shown.
            death: Returns an error as soon as the server is dead, which ends the stage.
        """
        self.progress.check_started(name, budget)
        asked, self.so_far = _Asked(name, self.progress.case), StageResult
        try:
            check = await self._asked(asked, work, death)
        except SglangCiError as error:
            check = asked.ended_by(error, self.so_far())
        except Exception as error:  # noqa: BLE001 - a bug here must not read as a bad server
            text = f"the check itself broke: {type(error).__name__}: {error}"
            broken = CheckBroken(text, details=traceback.format_exc())
            check = asked.ended_by(broken, self.so_far())
        except anyio.get_cancelled_exc_class():
            end = CheckBroken(f"interrupted by {self._interrupted}")
            self._checks.append(asked.ended_by(end, self.so_far()))
            raise
        self._checks.append(check)
        self.progress.check_ended(check)
        return check

    async def _asked(self, asked: _Asked, work: Work, death: Death | None) -> Check:
        async def ask() -> Check:
            return await asked.check(work)

        if death is None:
            return await ask()
        check = await unless(ask, death)
        if check.verdict is Verdict.PASSED:
            return check
        return await self._explained(check, death)

    async def _explained(self, check: Check, death: Death) -> Check:
        """Put the server's death first, where that may be why its check didn't pass."""
        with anyio.move_on_after(LAST_LOOK):
            end = _end(await death())
            self.progress.case(end)
            return check.model_copy(update={"cases": (end, *check.cases)})
        return check

    async def fail(self, name: str, error: SglangCiError) -> Check:
        """Keep a stage that `error` ended before it was begun, and return its check."""

        async def failed(_: Tell) -> StageResult:
            raise error

        return await self.run(name, failed)

    async def _signals(self, scope: anyio.CancelScope, *, task_status: TaskStatus[None]) -> None:
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            task_status.started()
            async for number in signals:
                if not self._interrupted:
                    self._interrupted = signal.Signals(number).name
                    self.progress.note(f"{self._interrupted}: ending the run")
                    scope.cancel()


def _end(error: SglangCiError) -> Case:
    return Case(
        name="runs to its end",
        outcome=Outcome(error.verdict.value),
        message=str(error),
        details=error.details,
    )
