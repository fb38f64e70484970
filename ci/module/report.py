"""What checks found, as an object of the graph."""

from typing import Annotated, Self

import dagger
from dagger import Doc, dag, field, function, object_type

from ci import __version__
from ci.report.model import Case, Check, now
from ci.report.model import Report as Found
from ci.report.text import clean, one_line, shorten
from ci.report.write import rendered
from ci.verdict import Outcome, Verdict

LINES, LONGEST = 40, 600
"""Most lines of what a build said that a report keeps, and most characters of its cause."""


class NotPassedError(Exception):
    """The verdict isn't PASSED; the message is the one line that says why."""


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
        found = Found.model_validate_json(await directory.file("report.json").contents())
        return cls(
            directory=directory,
            verdict=str(found.verdict),
            cause=found.cause,
            published=found.published,
        )

    @classmethod
    async def failed(cls, stage: str, error: dagger.QueryError) -> Self:
        """Return the report of a run that `error` ended in `stage`, before any server ran."""
        began, lines = now(), said(error)
        told = lines[-1] if lines else type(error).__name__
        case = Case(
            name="runs to its end",
            outcome=Outcome.ERROR,
            message=shorten(one_line(told), LONGEST),
            details="\n".join(lines[-LINES:]),
        )
        check = Check(name=stage, started=began, seconds=0, cases=(case,))
        facts = {"engine": "containers", "sglang-ci": __version__}
        found = Found(started=began, finished=began, checks=(check,), facts=facts)
        directory = dag.directory()
        for name, content in rendered(found).items():
            directory = directory.with_new_file(name, content)
        return await cls.of(directory)

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
            raise NotPassedError(f"{self.verdict}: {self.cause}")
        return await self.directory.id()


def said(error: dagger.QueryError) -> list[str]:
    """Return the lines of what a step said before it failed, or of the engine's own word."""
    stderr = error.stderr if isinstance(error, dagger.ExecError) else ""
    text = clean(stderr or str(error))
    return [line.rstrip() for line in text.splitlines() if line.strip()]
