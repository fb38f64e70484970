"""One page on a release: what it is, what proves it, who approved it, and where it is and was.

Everything comes from the registry, and what is said of it is judged here and now. The page is
rendered as Markdown and as one self-contained HTML page, with the means of `ci.report`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from ci.errors import UsageError
from ci.release.evidence.record import Record
from ci.release.evidence.vulnerabilities import findings, unsure
from ci.report import html, markdown
from ci.report.model import Report
from ci.secrets import files
from ci.verdict import Verdict

if TYPE_CHECKING:
    from ci.release.judge import Judge
    from ci.release.store import Found

_SHORT = len("sha256:") + 12
"""Characters of a digest that tell it from others on the page."""
Cell = str | Verdict


@dataclass(frozen=True)
class Section:
    """A table of the page; a cell that is a verdict is shown with its sign."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True)
class Page:
    """What the page says: facts by name, then its tables."""

    title: str
    facts: dict[str, str]
    sections: tuple[Section, ...]


def page_of(judge: Judge) -> Page:
    """Return the page on the digest that `judge` judges.

    Raises:
        RegistryFault: The registry can't be asked.
    """
    sections = (
        Section("Environments", ("environment", "may go", "is there", "why not"), _places(judge)),
        Section("Checks", ("check", "verdict", "cause"), tuple(_checks(judge))),
        Section("Approvals", ("environment", "by", "when", "says", "doubt"), _approvals(judge)),
        Section("Promotions", ("environment", "number", "when", "by"), _promotions(judge)),
        Section("Vulnerabilities", ("id", "package", "fixed in"), tuple(_vulnerabilities(judge))),
        Section(
            "Evidence", ("kind", "signed by", "made", "bundle", "problem"), tuple(_pieces(judge))
        ),
    )
    filled = tuple(section for section in sections if section.rows)
    return Page(str(judge.reference), _facts(judge), filled)


def to_markdown(page: Page) -> str:
    """Return the page as Markdown, as job summaries show it."""
    parts = [
        f"## Release {markdown.cell(page.title)}",
        markdown.table(("fact", "value"), [_row(pair) for pair in page.facts.items()]),
    ]
    for section in page.sections:
        rows = map(_row, section.rows)
        parts += [f"### {section.title}", markdown.table(section.head, rows)]
    return "\n\n".join(parts) + "\n"


def to_html(page: Page) -> str:
    """Return the page as one file of HTML that needs nothing else."""
    template = html.environment("ci.release").get_template("release.html.j2")
    return template.render(page=page, style=html.style(), is_verdict=_is_verdict)


def write_html(page: Page, file: Path) -> None:
    """Write the page as HTML.

    Raises:
        UsageError: The file can't be written.
    """
    try:
        files.write(file, to_html(page))
    except OSError as error:
        raise UsageError(f"{file} can't be written: {error.strerror}") from error


def _row(row: Iterable[Cell]) -> tuple[str, ...]:
    return tuple(map(_marked, row))


def _marked(value: Cell) -> str:
    sign = f"{markdown.SIGNS[value.value]} " if isinstance(value, Verdict) else ""
    return f"{sign}{markdown.cell(value)}"


def _is_verdict(value: Cell) -> bool:
    return isinstance(value, Verdict)


def _believed(judge: Judge, kind: str) -> Found | None:
    """Return the newest piece of a kind that somebody known signed, or else an unsigned one."""
    pieces = [each for each in judge.evidence.of(kind) if not each.problem]
    return next((each for each in pieces if each.signer), pieces[0] if pieces else None)


def _facts(judge: Judge) -> dict[str, str]:
    found = _believed(judge, "record")
    digest = {"digest": judge.image.descriptor.digest}
    if found is None:
        return digest | {"record": "there is none that can be believed"}
    try:
        record = Record.model_validate(found.predicate)
    except ValidationError:
        return digest | {"record": "malformed"}
    where = record.where
    told = {
        "published as": record.reference.partition("@")[0],
        "published": f"{_time(found)} by {where.actor}",
        "run": where.where_url,
        "commit": where.commit,
        "compared with": record.baseline.reference if record.baseline else "",
        "record signed by": found.signer or "nobody",
    }
    return digest | {name: value for name, value in told.items() if value} | record.versions


def _places(judge: Judge) -> tuple[tuple[Cell, ...], ...]:
    return tuple(_place(judge, environment) for environment in judge.settings.environments)


def _place(judge: Judge, environment: str) -> tuple[Cell, ...]:
    check = judge.check(environment)
    there = judge.registry.resolve(environment)
    is_there = there is not None and there.digest == judge.image.descriptor.digest
    return environment, check.verdict, "yes" if is_there else "no", check.cause


def _checks(judge: Judge) -> Iterator[tuple[Cell, ...]]:
    found = _believed(judge, "report")
    if found is None:
        return
    try:
        report = Report.model_validate(found.predicate)
    except ValidationError:
        return
    for check in report.checks:
        yield check.name, check.verdict, check.cause


def _approvals(judge: Judge) -> tuple[tuple[Cell, ...], ...]:
    return tuple(_approval(judge, found) for found in judge.evidence.of("approval"))


def _approval(judge: Judge, found: Found) -> tuple[Cell, ...]:
    told = found.predicate
    environment, by = str(told.get("environment", "")), str(told.get("by", ""))
    known = environment in judge.settings.environments
    policy = judge.reader(environment).policy if known else None
    doubt = policy.approval_doubt(found, judge.now) if policy else found.problem
    vouched = f"{by} (vouched for by {found.signer})" if found.signer not in {by, ""} else by
    return environment, vouched, _time(found), str(told.get("comment", "")), doubt


def _promotions(judge: Judge) -> tuple[tuple[Cell, ...], ...]:
    rows = []
    for found in judge.evidence.of("promotion"):
        told = found.predicate
        where = told.get("where")
        actor = str(where.get("actor", "")) if isinstance(where, dict) else ""
        if not found.problem:
            number = f"{told.get('number')}{' (roll-back)' if told.get('rollback') else ''}"
            signer = f"{actor}, signed by {found.signer or 'nobody'}"
            rows.append((str(told.get("environment", "")), number, _time(found), signer))
    return tuple(rows)


def _vulnerabilities(judge: Judge) -> Iterator[tuple[Cell, ...]]:
    found = _believed(judge, "vulnerabilities")
    if found is None:
        return
    unknown = unsure(found.predicate)
    try:
        known = () if unknown else findings(found.predicate)
    except ValueError as error:
        unknown = str(error)
        known = ()
    if unknown:
        yield unknown, "", ""
    for each in known:
        yield each.id, each.purl, ", ".join(each.fixed_in)


def _pieces(judge: Judge) -> Iterable[tuple[Cell, ...]]:
    for found in judge.evidence.found:
        time = _time(found) if found.statement else ""
        yield (
            found.kind or "unknown",
            found.signer or "nobody known",
            time,
            (found.bundle or found.artifact.digest)[:_SHORT],
            found.problem,
        )


def _time(found: Found) -> str:
    return f"{found.created:%Y-%m-%d %H:%M:%S} UTC"
