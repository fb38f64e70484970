"""The report: what the checks found of the image, as they wrote it down."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from ci.release.kind import EvidenceKind, Judging, Table, first, judged
from ci.report.model import Case, Check, Report
from ci.verdict import Verdict

if TYPE_CHECKING:
    from ci.release.found import FoundPiece
    from ci.release.publication import Making


class ReportKind(EvidenceKind):
    """What the checks found."""

    name = "report"
    predicate_type = "urn:sglang-ci:report:1"
    created = ("finished",)
    order = 0

    def make(self, making: Making) -> dict[str, Any] | None:
        """Return the report; None where the image is published untested."""
        report = making.publication.report
        return report.model_dump(mode="json") if report else None

    def stays(self, piece: FoundPiece, making: Making) -> bool:
        """Return whether it is the very report that is published."""
        return read(piece) == making.publication.report

    def judge(self, piece: FoundPiece, judging: Judging) -> Iterator[Case]:
        """Yield whether the report PASSED, and each check that it must hold."""
        try:
            told = Report.model_validate(piece.predicate)
        except ValidationError as error:
            yield judged("report passed", f"it is no report: {first(error)}")
            return
        passed = told.verdict is Verdict.PASSED
        yield judged("report passed", "" if passed else f"{told.verdict}: {told.cause}")
        checks = {check.name: check for check in told.checks}
        for name in judging.environment.checks:
            yield judged(f"check {name} passed", _problem(checks.get(name)))

    def tables(self, piece: FoundPiece) -> Iterator[Table]:
        """Yield each check and what it came to."""
        report = read(piece)
        checks = report.checks if report else ()
        rows = tuple((check.name, check.verdict, check.cause) for check in checks)
        yield Table("Checks", ("check", "verdict", "cause"), rows)


def read(piece: FoundPiece) -> Report | None:
    """Return the report that a piece of evidence holds; None where it holds something else."""
    try:
        return Report.model_validate(piece.predicate)
    except ValidationError:
        return None


def _problem(check: Check | None) -> str:
    if check is None:
        return "it wasn't run"
    return "" if check.verdict is Verdict.PASSED else f"{check.verdict}: {check.cause}"


KIND = ReportKind()
