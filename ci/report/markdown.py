"""A report as Markdown, for a pull request's or a job's summary page.

Written for GitHub's dialect and its limit of 1 MiB a summary, and readable as plain text.
Whatever a server said is escaped: in cells by backslashes, in blocks as HTML.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator, Sequence

from ci.report.model import Case, Check, Report
from ci.report.text import (
    BAD,
    clean,
    counts,
    duration,
    limit,
    measured,
    one_line,
    shorten,
    subject,
)
from ci.verdict import Outcome

SIGNS = {
    Outcome.PASSED.value: "✅",
    Outcome.FAILED.value: "❌",
    Outcome.ERROR.value: "💥",
    Outcome.INCONCLUSIVE.value: "❔",
}
"""One sign for each verdict."""

_MARKUP = re.compile(r"([\\`*_{}\[\]#|~])")

_CELL_CHARACTERS = 300
_BLOCK_CHARACTERS = 6000
_FIGURES = 40
"""Most figures of one check."""
_FAILURES_BYTES = 900_000
"""What details of failures may take of a summary, all together."""


def render(report: Report) -> str:
    """Return `report` as Markdown: verdict, checks, failures, timeline, stages not run."""
    sections = [
        f"## {SIGNS[report.verdict]} {cell(report.title)}: {report.verdict}",
        f"Cause: {cell(report.cause)}" if report.cause else "",
        f"Of {cell(told)}" if (told := subject(report)) else "",
        table(("check", "verdict", "cases", "time", "cause"), map(_check_row, report.checks)),
        *_fitting(block for check in report.checks for block in _failures(check)),
        *map(_timeline, report.checks),
        *map(_figures, report.checks),
        _not_run(report),
        _facts(report),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _figures(check: Check) -> str:
    """Return a check's first figures as a table; `report.json` has them all."""
    if not check.figures:
        return ""
    rows = [(cell(one.name), cell(measured(one))) for one in check.figures[:_FIGURES]]
    left = len(check.figures) - len(rows)
    more = f"\n\n{left} more are in `report.json`." if left else ""
    return f"### {cell(check.name)} in figures\n\n{table(('figure', 'value'), rows)}{more}"


def _fitting(blocks: Iterable[str]) -> Iterator[str]:
    """Yield the blocks that a summary has room for, and say how many it has not."""
    room, left_out = _FAILURES_BYTES, 0
    for block in blocks:
        room -= len(block.encode())
        if room < 0:
            left_out += 1
        else:
            yield block
    if left_out:
        yield f"{left_out} failures are left out here: see `index.html` or `report.json`."


def _check_row(check: Check) -> tuple[str, ...]:
    verdict = f"{SIGNS[check.verdict]} {check.verdict}"
    cases = counts(check) or "none"
    return cell(check.name), verdict, cases, duration(check.seconds), cell(check.cause)


def _failures(check: Check) -> list[str]:
    blocks = [_case_block(case) for case in check.cases if case.outcome in BAD]
    if check.log:
        blocks.append(_block("Server log", check.log))
    return [f"### {cell(check.name)}", *blocks] if blocks else []


def _case_block(case: Case) -> str:
    line = f"**{case.outcome}** {cell(case.name)}: {cell(case.message)}"
    return f"{line}\n\n{_block('Details', case.details)}" if case.details else line


def _block(summary: str, text: str) -> str:
    """Return a folded block, where Markdown is not read.

    `pre` begins after an empty line: in a block of its own, which only `</pre>` ends.
    """
    body = html.escape(shorten(clean(text), _BLOCK_CHARACTERS).strip("\n"), quote=False)
    return f"<details><summary>{summary}</summary>\n\n<pre>\n{body}\n</pre>\n\n</details>"


def _timeline(check: Check) -> str:
    rows = [
        (
            f"{'↳ ' if phase.within else ''}{cell(phase.name)}",
            duration(phase.start),
            duration(phase.seconds),
            "" if phase.budget is None else limit(phase.budget),
        )
        for phase in check.phases
    ]
    if not rows:
        return ""
    heading = f"### Timeline of {cell(check.name)}"
    return f"{heading}\n\n{table(('phase', 'from', 'took', 'budget'), rows)}"


def _not_run(report: Report) -> str:
    rows = [(cell(stage.stage), cell(stage.needs)) for stage in report.not_run]
    return f"### Not run here\n\n{table(('stage', 'needs'), rows)}" if rows else ""


def _facts(report: Report) -> str:
    rows = [(cell(name), cell(value)) for name, value in report.facts.items()]
    if not rows:
        return ""
    return f"<details><summary>Facts</summary>\n\n{table(('fact', 'value'), rows)}\n\n</details>"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of cells that are Markdown already."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def cell(text: str) -> str:
    """Return `text` on one line, with nothing in it that Markdown or HTML would read."""
    plain = html.escape(one_line(shorten(text, _CELL_CHARACTERS)), quote=False)
    return _MARKUP.sub(r"\\\1", plain)
