"""Progress on a terminal: the running check's phases live, what is done above them.

A module of its own because importing rich takes longer than all plain forms together.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, TextIO, cast

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from ci.report.console import LINE, Output, check_row, closing_lines
from ci.report.text import BAD, MARKS, counts, duration, expected, one_line, shorten
from ci.verdict import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from ci.report.earlier import Took
    from ci.report.model import Case, Check, Report

_STYLES = {
    Outcome.PASSED.value: "green",
    Outcome.FAILED.value: "bold red",
    Outcome.ERROR.value: "bold red",
    Outcome.INCONCLUSIVE.value: "bold yellow",
    Outcome.SKIPPED.value: "dim",
}
_BAR = 20
_NEARLY = 0.8
"""Width of a bar in characters, and the share of a budget from which it turns yellow."""


@dataclass
class _Stretch:
    """A check or a phase as it goes on: `took` is None while it runs."""

    name: str
    budget: float | None
    start: float
    earlier: float | None
    took: float | None = None


class RichProgress:
    """A live display that leaves one line a check, and a table of them at the end."""

    def __init__(
        self,
        stream: TextIO,
        environ: Mapping[str, str],
        clock: Callable[[], float] = time.monotonic,
        earlier: Took | None = None,
    ) -> None:
        """Draw on `stream`, a terminal of the kind that `environ` describes."""
        file = cast("TextIO", Output(stream))
        self._console = Console(file=file, highlight=False, _environ=environ)
        self._clock = clock
        self._earlier = earlier or {}
        self._live = Live(self, console=self._console, refresh_per_second=8, transient=True)
        self._spinner = Spinner("dots", style="cyan")
        self._check: _Stretch | None = None
        self._phases: tuple[_Stretch, ...] = ()
        self._found: Counter[Outcome] = Counter()
        self._now = ""

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._live.stop()

    def __rich__(self) -> RenderableType:
        """Return the running check as it stands now."""
        if self._check is None:
            return Text()
        table = Table.grid(padding=(0, 1))
        for stretch in (self._check, *self._phases):
            table.add_row(*self._row(stretch))
        found = ", ".join(f"{number} {name.lower()}" for name, number in self._found.items())
        lines = [Text(f"  {line}", "dim") for line in (self._now, found) if line]
        return Group(table, *lines)

    def check_started(self, name: str, budget: float | None) -> None:
        """Show the check, with its budget as a bar where it has one."""
        self._phases, self._found, self._now = (), Counter(), ""
        self._check = self._stretch(name, name, "", budget)

    def phase_started(self, name: str, budget: float | None) -> None:
        """Show the phase under its check."""
        check = self._check.name if self._check else ""
        self._phases += (self._stretch(name, check, name, budget),)

    def _stretch(self, name: str, check: str, phase: str, budget: float | None) -> _Stretch:
        return _Stretch(one_line(name), budget, self._clock(), self._earlier.get((check, phase)))

    def phase_ended(self, name: str, seconds: float) -> None:
        """Keep the phase's time on display until its check ends."""
        for phase in self._phases:
            if phase.name == one_line(name):
                phase.took = seconds

    def case(self, case: Case) -> None:
        """Count the case; one that went wrong stays as a line."""
        self._found[case.outcome] += 1
        if case.outcome in BAD:
            self._print_case(case)

    def check_ended(self, check: Check) -> None:
        """Leave one line in place of the live display."""
        self._check = None
        verdict = Text(f"{MARKS[check.verdict]} {check.verdict:<13}", _STYLES[check.verdict])
        told = f"{one_line(check.name)}  {duration(check.seconds)}  {counts(check) or 'no case'}"
        self._print(verdict.append(told, "default not bold"))

    def live(self, text: str) -> None:
        """Show `text` under the running check until the next one."""
        self._now = one_line(shorten(text, LINE))

    def note(self, text: str) -> None:
        """Leave `text` as a line."""
        self._print(Text(one_line(shorten(text, LINE)), "dim"))

    def finished(self, report: Report, report_dir: Path | None) -> None:
        """Leave the table of checks, the verdict, what did not run, and the report's place."""
        self._live.stop()
        table = Table("check", "verdict", "time", "cases", box=SIMPLE_HEAD, header_style="dim")
        for check in report.checks:
            name, verdict, took, found = check_row(check)
            table.add_row(Text(name), Text(verdict, _STYLES[verdict]), took, found)
        self._console.print(table)
        first, *rest = closing_lines(report, report_dir)
        self._print(Text(first, _STYLES[report.verdict]))
        for line in rest:
            self._print(Text(line))

    def _print_case(self, case: Case) -> None:
        told = f"{MARKS[case.outcome]} {case.name}: {case.message or case.outcome}"
        self._print(Text(f"  {one_line(shorten(told, LINE))}", _STYLES[case.outcome]))

    def _print(self, line: Text) -> None:
        self._console.print(line, soft_wrap=True)

    def _row(self, stretch: _Stretch) -> tuple[RenderableType, ...]:
        """Return sign, name, time, and bar against the budget."""
        running = stretch.took is None
        took = self._clock() - stretch.start if stretch.took is None else stretch.took
        inner = stretch is not self._check
        sign = self._spinner if running else Text(MARKS[Outcome.PASSED], "green")
        name = Text(f"{'  ' if inner else ''}{stretch.name}", "" if running else "dim")
        told = Text(expected(stretch.budget, stretch.earlier), "dim")
        if stretch.budget is None:
            return sign, name, Text(duration(took), justify="right"), "", told
        style = "green" if took < _NEARLY * stretch.budget else "yellow"
        bar = ProgressBar(stretch.budget, min(took, stretch.budget), _BAR, complete_style=style)
        return (
            sign,
            name,
            Text(duration(took), justify="right"),
            bar,
            told,
        )
