"""What checks found: one versioned schema.

A `Report` holds `Check`s, a check holds `Case`s. Verdicts are never stored by hand: a
check's verdict follows from its cases and a report's from its checks, also when a file
is read back, so that no verdict can say more than what was seen.

Times are UTC, durations seconds.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, computed_field, field_validator

from ci.secrets.veil import veiled_data
from ci.verdict import Outcome, Verdict, judge

SCHEMA_VERSION = "1.2"
"""Version of the report's schema: the major part changes when readers must change."""

Seconds = Annotated[float, Field(ge=0, description="Duration in seconds.")]


class _Model(BaseModel):
    """What every part has in common: no text in it shows a secret."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    @field_validator("*")
    @classmethod
    def _veiled(cls, value: Any) -> Any:
        return veiled_data(value) if type(value) in {str, dict} else value


class Case(_Model):
    """One named assertion inside a check."""

    name: str = Field(description="Unique inside its check.")
    outcome: Outcome
    seconds: Seconds = 0.0
    message: str = Field("", description="One line: what is wrong, or why it was skipped.")
    details: str = Field("", description="More lines: a traceback, a body, both sides.")


class Phase(_Model):
    """A named stretch of time inside a check, for the report's timeline."""

    name: str
    start: Seconds = Field(description="Seconds from the start of the check.")
    seconds: Seconds
    budget: float | None = Field(None, description="Most seconds allowed, where there is a limit.")
    within: str = Field("", description="Name of the phase that this one is a part of.")


class Figure(_Model):
    """One measured number, for a reader that compares reports."""

    name: str = Field(description="Unique inside its check.")
    value: float
    unit: str = Field("", description="s, bytes, tokens/s, requests/s; empty for a plain number.")
    better: Literal["lower", "higher", ""] = Field("", description="Which way is better, if any.")
    low: float | None = Field(None, description="Lower end of its interval, where it is known.")
    high: float | None = Field(None, description="Upper end, likewise.")


class Series(_Model):
    """One line of a plot."""

    name: str
    points: tuple[tuple[float, float], ...]


class Plot(_Model):
    """What is drawn of a check: lines over one pair of axes."""

    title: str
    x: str = Field(description="What the horizontal axis shows, with its unit.")
    y: str
    kind: Literal["line", "step", "points"] = "line"
    series: tuple[Series, ...]


class Check(_Model):
    """One stage's question to a server, and what was found."""

    name: str
    started: AwareDatetime
    seconds: Seconds
    cases: tuple[Case, ...] = ()
    phases: tuple[Phase, ...] = ()
    facts: dict[str, str] = Field({}, description="What was seen beside the cases: versions, URL.")
    figures: tuple[Figure, ...] = Field((), description="What was measured.")
    plots: tuple[Plot, ...] = Field((), description="What is drawn of it.")
    log: str = Field("", description="The server's log lines that explain a fault.")

    @computed_field
    @property
    def verdict(self) -> Verdict:
        """Follows from the cases; ERROR where no case ran."""
        return judge(case.outcome for case in self.cases)

    @property
    def cause(self) -> str:
        """One line on why the verdict isn't PASSED; empty where it is."""
        verdict = self.verdict
        if verdict is Verdict.PASSED:
            return ""
        decisive = [case for case in self.cases if case.outcome.value == verdict.value]
        if not decisive:
            return "no case ran"
        first = f"{decisive[0].name}: {decisive[0].message or decisive[0].outcome}"
        return first if len(decisive) == 1 else f"{first} (and {len(decisive) - 1} more)"

    def count(self, outcome: Outcome) -> int:
        """Return how many cases had `outcome`."""
        return sum(case.outcome is outcome for case in self.cases)


class NotRun(_Model):
    """A stage that did not run, and what it needs."""

    stage: str
    needs: str


class Report(_Model):
    """What all checks of a run found."""

    schema_version: str = SCHEMA_VERSION
    title: str = "sglang-ci"
    started: AwareDatetime
    finished: AwareDatetime
    checks: tuple[Check, ...] = ()
    not_run: tuple[NotRun, ...] = ()
    interrupted: str = Field("", description="Name of the signal that ended the run early.")
    published: str = Field(
        "", description="Reference by digest of the image that this run published, if it did."
    )
    facts: dict[str, str] = Field({}, description="Where and with what the run was made.")

    @computed_field
    @property
    def verdict(self) -> Verdict:
        """Follows from the checks; ERROR where none ran or the run was interrupted."""
        verdict = judge(check.verdict for check in self.checks)
        return Verdict.ERROR if self.interrupted and verdict is not Verdict.FAILED else verdict

    @property
    def seconds(self) -> float:
        """Wall time of the run in seconds."""
        return (self.finished - self.started).total_seconds()

    @property
    def cause(self) -> str:
        """One line on why the verdict isn't PASSED; empty where it is."""
        if self.interrupted:
            return f"interrupted by {self.interrupted}"
        verdict = self.verdict
        if verdict is Verdict.PASSED:
            return ""
        decisive = [check for check in self.checks if check.verdict is verdict]
        return f"{decisive[0].name}: {decisive[0].cause}" if decisive else "no check ran"


def now() -> datetime:
    """Return the current time, UTC."""
    return datetime.now(UTC)


def merge(reports: Iterable[Report], title: str = "sglang-ci") -> Report:
    """Lay reports of single stages together as one; at least one is needed."""
    parts = sorted(reports, key=lambda report: report.started)
    return Report(
        title=title,
        started=parts[0].started,
        finished=max(part.finished for part in parts),
        checks=tuple(check for part in parts for check in part.checks),
        not_run=tuple(stage for part in parts for stage in part.not_run),
        interrupted=next((part.interrupted for part in parts if part.interrupted), ""),
        published=next((part.published for part in reversed(parts) if part.published), ""),
        facts={key: value for part in parts for key, value in part.facts.items()},
    )
