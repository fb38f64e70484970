"""Runs stages one after the other into a report, whatever happens in between.

A stage that raises becomes a check that says so; a signal ends the run, and the report
says that it was interrupted and keeps what was found until then.
"""

from __future__ import annotations

import platform
import signal
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
from anyio.abc import TaskStatus

from ci.concurrency import one_error, unless
from ci.errors import CheckBroken, SglangCiError
from ci.report.model import Case, Check, NotRun, Report, now
from ci.report.progress import Progress
from ci.verdict import Outcome, Verdict

Work = Callable[[], Awaitable[Check]]
Death = Callable[[], Awaitable[SglangCiError]]
LAST_LOOK = 1.0
"""Seconds in which a dead server's end is told; a refused connection may be seen before it."""


class Stages:
    """The stages of one run, in the order in which they ran.

    Args:
        progress: Who is told.
        folder: Where a stage may leave files of its own, beside the report.

    A stage that publishes sets `published` to the reference by digest, for the report.
    """

    def __init__(self, progress: Progress, folder: Path = Path()) -> None:
        self.progress, self.folder = progress, folder
        self.published = ""
        self._checks: list[Check] = []
        self._cases: list[Case] = []
        self._left_out: list[NotRun] = []
        self._interrupted = ""

    def left_out(self, stage: str, needs: str) -> None:
        """Say that a stage isn't run, and what it would need."""
        self.progress.note(f"{stage}: not run, needs {needs}")
        self._left_out.append(NotRun(stage=stage, needs=needs))

    async def report(
        self,
        work: Callable[[], Awaitable[None]],
        *,
        not_run: tuple[NotRun, ...] = (),
        facts: dict[str, str] | None = None,
    ) -> Report:
        """Do `work`, which runs stages, and report them.

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
        here = {"python": platform.python_version(), "machine": platform.machine()}
        return Report(
            started=started,
            finished=now(),
            checks=tuple(self._checks),
            not_run=(*not_run, *self._left_out),
            interrupted=self._interrupted,
            published=self.published,
            facts=here | (facts or {}),
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
        self._cases.clear()
        started, begin = now(), anyio.current_time()

        def so_far(error: SglangCiError) -> Check:
            end, seconds = _end(error), anyio.current_time() - begin
            self.progress.case(end)
            cases = (end, *self._cases)
            return Check(name=name, started=started, seconds=seconds, cases=cases)

        try:
            check = await (unless(work, death) if death else work())
            if death and check.verdict is not Verdict.PASSED:
                check = await self._explained(check, death)
        except SglangCiError as error:
            check = so_far(error)
        except Exception as error:  # noqa: BLE001 - a bug here must not read as a bad server
            text = f"the check itself broke: {type(error).__name__}: {error}"
            check = so_far(CheckBroken(text, details=traceback.format_exc()))
        except anyio.get_cancelled_exc_class():
            self._checks.append(so_far(CheckBroken(f"interrupted by {self._interrupted}")))
            raise
        self._checks.append(check)
        self.progress.check_ended(check)
        return check

    async def _explained(self, check: Check, death: Death) -> Check:
        """Put the server's death first, where that may be why its check didn't pass."""
        with anyio.move_on_after(LAST_LOOK):
            end = _end(await death())
            self.progress.case(end)
            return check.model_copy(update={"cases": (end, *check.cases)})
        return check

    async def fail(self, name: str, error: SglangCiError) -> Check:
        """Keep a stage that `error` ended before it was begun, and return its check."""

        async def failed() -> Check:
            raise error

        return await self.run(name, failed)

    def case(self, case: Case) -> None:
        """Take in a case of the running stage as soon as it is known."""
        self._cases.append(case)
        self.progress.case(case)

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
