"""A report as one HTML page that needs nothing else: no network, no other file.

`page.html.j2` holds what is said where, `macros.html.j2` what other pages say the same way,
`page.css` how it looks, and `page.js` the search among the cases, without which everything is
still there to be read. A content policy allows this one script and nothing from elsewhere,
whatever a server's words hold.
"""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ci.report.model import Case, Check, Phase, Report
from ci.report.svg import BOTTOM, HEIGHT, LEFT, RIGHT, WIDTH, drawing
from ci.report.text import (
    BAD,
    MARKS,
    clean,
    counts,
    duration,
    limit,
    measured,
    one_line,
    shorten,
)
from ci.verdict import Outcome

_LINE_CHARACTERS, _BLOCK_CHARACTERS = 400, 200_000
"""Most characters of a heading or cause, and of one log or body, which report.json has whole."""

_MANY = 30
"""Cases from which on those of a check that PASSED are folded."""

_TICKS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600)
_MOST_TICKS = 7

_WORST_FIRST = (
    Outcome.FAILED,
    Outcome.ERROR,
    Outcome.INCONCLUSIVE,
    Outcome.PASSED,
    Outcome.SKIPPED,
)


@dataclass(frozen=True)
class Bar:
    """One phase on the timeline: places in percent of its width."""

    phase: Phase
    left: float
    width: float
    limit: float | None

    @property
    def over(self) -> bool:
        """Whether the phase took longer than its budget."""
        return self.phase.budget is not None and self.phase.seconds > self.phase.budget


@dataclass(frozen=True)
class Timeline:
    """A check's phases to one scale, with the places and labels of its ticks."""

    bars: tuple[Bar, ...]
    ticks: tuple[tuple[float, str], ...]

    @property
    def limited(self) -> bool:
        """Whether the end of some phase's budget lies on the scale."""
        return any(bar.limit is not None for bar in self.bars)


def render(report: Report) -> str:
    """Return `report` as one self-contained page, for a file in UTF-8."""
    script = _asset("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        environment("ci.report")
        .get_template("page.html.j2")
        .render(
            report=report,
            style=style(),
            script=Markup(script),  # noqa: S704 - ours, from the package
            script_digest=digest,
            outcomes=Counter(case.outcome for check in report.checks for case in check.cases),
        )
    )


def style() -> Markup:
    """Return the style sheet that all pages share."""
    return Markup(_asset("page.css"))  # noqa: S704 - ours, from the package


def timeline(check: Check) -> Timeline:
    """Lay the phases of `check` out to one scale, in their own order."""
    total = max((phase.start + phase.seconds for phase in check.phases), default=0) or 1.0
    bars = tuple(_bar(phase, total) for phase in check.phases)
    step = next((step for step in _TICKS if total / step < _MOST_TICKS), total)
    ticks = [number * step for number in range(int(total / step) + 1)]
    return Timeline(bars, tuple((100 * tick / total, limit(round(tick, 1))) for tick in ticks))


def _bar(phase: Phase, total: float) -> Bar:
    end = None if phase.budget is None else phase.start + phase.budget
    return Bar(
        phase=phase,
        left=100 * phase.start / total,
        width=100 * phase.seconds / total,
        limit=None if end is None or end > total else 100 * end / total,
    )


def worst_first(cases: tuple[Case, ...]) -> list[Case]:
    """Return the cases with those that went wrong before the others."""
    return sorted(cases, key=lambda case: _WORST_FIRST.index(case.outcome))


@cache
def _asset(name: str) -> str:
    return files("ci.report").joinpath(name).read_text(encoding="utf-8")


@cache
def environment(package: str) -> Environment:
    """Return what renders the templates of a package, with macros and filters of reports."""
    made = Environment(
        loader=ChoiceLoader(
            [PackageLoader(name, package_path="") for name in (package, "ci.report")]
        ),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    made.filters |= {
        "block": lambda text: shorten(text, _BLOCK_CHARACTERS).strip("\n"),
        "brief": lambda text: one_line(shorten(text, _LINE_CHARACTERS)),
        "counts": counts,
        "drawing": drawing,
        "duration": duration,
        "limit": limit,
        "measured": measured,
        "one_line": one_line,
        "timeline": timeline,
        "worst_first": worst_first,
    }
    made.globals |= {"MARKS": MARKS, "BAD": BAD, "WORST_FIRST": _WORST_FIRST, "MANY": _MANY}
    made.globals |= {"WIDTH": WIDTH, "HEIGHT": HEIGHT}
    made.globals |= {"LEFT": LEFT, "RIGHT": RIGHT, "BOTTOM": BOTTOM}
    return made


def _shown(value: object) -> object:
    """Clean every string that the page shows; it is escaped after that."""
    return clean(value) if isinstance(value, str) and not isinstance(value, Markup) else value
