"""What checks found, as an object of the graph."""

from typing import Annotated, Self

import dagger
from dagger import Doc, dag, field, function, object_type

from ci import __version__
from ci.errors import SglangCiError
from ci.preflight.stage import NAME as PREFLIGHT
from ci.report.model import Case, Check, NotRun, now
from ci.report.model import Report as Found
from ci.report.write import rendered
from ci.verdict import Outcome, Verdict

FILE = "report.json"


def refused(found: Found) -> list[str]:
    """Return each of several findings of the preflight in a line, as one mend is not enough."""
    bad = [
        f"{case.name}: {case.message}"
        for check in found.checks
        for case in check.cases
        if check.name == PREFLIGHT and case.outcome is Outcome.ERROR
    ]
    return bad if len(bad) > 1 else []


class NotPassedError(Exception):
    """The verdict isn't PASSED; the message is the one line that says why."""


def _written(found: Found, directory: dagger.Directory) -> dagger.Directory:
    """Return `directory` with a report in it."""
    for name, content in rendered(found).items():
        directory = directory.with_new_file(name, content)
    return directory


@object_type
class Report:
    """What checks found. Called last, it fails where the verdict isn't PASSED."""

    directory: Annotated[
        dagger.Directory, Doc("report.json, junit.xml, summary.md and index.html")
    ] = field()
    verdict: Annotated[str, Doc("PASSED, FAILED, INCONCLUSIVE or ERROR")] = field()
    cause: Annotated[str, Doc("One line on why the verdict isn't PASSED")] = field()
    published: Annotated[str, Doc("Reference by digest of the image, where it was published")] = (
        field(default="")
    )

    @classmethod
    async def of(cls, directory: dagger.Directory) -> Self:
        """Read the report that lies in `directory`."""
        found = Found.model_validate_json(await directory.file(FILE).contents())
        return cls(
            directory=directory,
            verdict=str(found.verdict),
            cause=found.cause,
            published=found.published,
        )

    @classmethod
    async def failed(cls, stage: str, error: SglangCiError) -> Self:
        """Return the report of a run that `error` ended in `stage`, before any server ran."""
        began = now()
        case = Case(
            name="runs to its end",
            outcome=Outcome(error.verdict.value),
            message=str(error),
            details=error.details,
        )
        check = Check(name=stage, started=began, seconds=0, cases=(case,))
        facts = {"engine": "containers", "sglang-ci": __version__}
        found = Found(started=began, finished=began, checks=(check,), facts=facts)
        return await cls.of(_written(found, dag.directory()))

    async def without(self, stage: str, needs: str) -> "Report":
        """Return the same report, which says too that `stage` wasn't run, and what it needs."""
        found = await self._found()
        left = (*found.not_run, NotRun(stage=stage, needs=needs))
        told = found.model_copy(update={"not_run": left})
        return await Report.of(_written(told, self.directory))

    async def _found(self) -> Found:
        return Found.model_validate_json(await self.directory.file(FILE).contents())

    @property
    def passed(self) -> bool:
        """Whether every check passed."""
        return self.verdict == Verdict.PASSED

    @function(cache="never")
    async def summary(self) -> str:
        """Return the summary as Markdown."""
        return await self.directory.file("summary.md").contents()

    @function(cache="never")
    async def sync(self) -> str:
        """Fail where the verdict isn't PASSED; return the directory's id otherwise.

        The command line calls it on a report that stands last in a chain.
        """
        if not self.passed:
            also = refused(await self._found())
            raise NotPassedError("\n".join([f"{self.verdict}: {self.cause}", *also]))
        return await self.directory.id()
