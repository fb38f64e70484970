"""One page on a release: what it is, what proves it, who approved it, and where it is and was.

Everything comes from the registry, and what is said of it is judged here and now. The page is
rendered as Markdown and as one self-contained HTML page, with the means of `ci.report`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ci.errors import UsageError
from ci.registry.reference import SHORT
from ci.release.kind import Cell, Link, Table
from ci.release.kinds import EVIDENCE
from ci.report import html, markdown
from ci.secrets import files
from ci.verdict import Verdict

if TYPE_CHECKING:
    from ci.release.found import FoundPiece
    from ci.release.judge import Judge


@dataclass(frozen=True)
class ReleasePage:
    """What the page says: facts by name, then its tables."""

    title: str
    facts: dict[str, str]
    sections: tuple[Table, ...]
    heading: str = "Release"


def page_of(judge: Judge) -> ReleasePage:
    """Return the page on the digest that `judge` judges.

    Raises:
        RegistryFault: The registry can't be asked.
    """
    believed = {kind: _believed(judge, kind) for kind in EVIDENCE}
    told = [(EVIDENCE[kind], piece) for kind, piece in believed.items()]
    facts = {"digest": judge.image.descriptor.digest}
    for kind, piece in told:
        facts |= kind.facts(piece)
    sections = (
        Table("Environments", ("environment", "may go", "is there", "why not"), _places(judge)),
        *(table for kind, piece in told if piece for table in kind.tables(piece)),
        Table("Approvals", ("environment", "by", "when", "says", "doubt"), _approvals(judge)),
        Table("Promotions", ("environment", "number", "when", "by"), _promotions(judge)),
        Table("Deployments", ("environment", "ended", "when", "by", "why"), _deployments(judge)),
        Table("Evidence", ("kind", "signed by", "made", "bundle", "problem"), _pieces(judge)),
    )
    filled = tuple(section for section in sections if section.rows)
    return ReleasePage(str(judge.reference), facts, filled)


def to_markdown(page: ReleasePage) -> str:
    """Return the page as Markdown, as job summaries show it."""
    parts = [
        f"## {page.heading} {markdown.cell(page.title)}",
        markdown.table(("fact", "value"), [_row(pair) for pair in page.facts.items()]),
    ]
    for section in page.sections:
        rows = map(_row, section.rows)
        parts += [f"### {section.title}", markdown.table(section.head, rows)]
    return "\n\n".join(parts) + "\n"


def to_html(page: ReleasePage) -> str:
    """Return the page as one file of HTML that needs nothing else."""
    template = html.environment("ci.release").get_template("release.html.j2")
    return template.render(
        page=page, style=html.style(), is_verdict=_is(Verdict), is_link=_is(Link)
    )


def write_html(page: ReleasePage, file: Path) -> None:
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
    return f"{sign}{markdown.cell(value.text if isinstance(value, Link) else value)}"


def _is(kind: type) -> Callable[[Cell], bool]:
    return lambda value: isinstance(value, kind)


def _believed(judge: Judge, kind: str) -> FoundPiece | None:
    """Return the newest piece of a kind that somebody known signed, or else an unsigned one."""
    pieces = [each for each in judge.evidence.of(kind) if not each.problem]
    return next((each for each in pieces if each.signer), pieces[0] if pieces else None)


def _places(judge: Judge) -> tuple[tuple[Cell, ...], ...]:
    return tuple(_place(judge, environment) for environment in judge.settings.environments)


def _place(judge: Judge, environment: str) -> tuple[Cell, ...]:
    check = judge.check(environment)
    there = judge.registry.resolve(environment)
    is_there = there is not None and there.digest == judge.image.descriptor.digest
    return environment, check.verdict, "yes" if is_there else "no", check.cause


def _approvals(judge: Judge) -> tuple[tuple[Cell, ...], ...]:
    return tuple(_approval(judge, found) for found in judge.evidence.of("approval"))


def _approval(judge: Judge, found: FoundPiece) -> tuple[Cell, ...]:
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


def _deployments(judge: Judge) -> tuple[tuple[Cell, ...], ...]:
    rows = []
    for found in judge.evidence.of("deployment"):
        told = found.predicate
        where = told.get("where")
        actor = str(where.get("actor", "")) if isinstance(where, dict) else ""
        if not found.problem:
            ended = str(told.get("verdict", ""))
            signer = f"{actor}, signed by {found.signer or 'nobody'}"
            why = _joined(str(told.get(name, "")) for name in ("outcome", "cause"))
            verdict = Verdict(ended) if ended in set(Verdict) else ended
            rows.append((str(told.get("environment", "")), verdict, _time(found), signer, why))
    return tuple(rows)


def _joined(texts: Iterable[str]) -> str:
    return ": ".join(filter(None, texts))


def _pieces(judge: Judge) -> tuple[tuple[Cell, ...], ...]:
    return tuple(
        (
            found.kind or "unknown",
            found.signer or "nobody known",
            _time(found) if found.statement else "",
            (found.bundle or found.artifact.digest)[:SHORT],
            found.problem,
        )
        for found in judge.evidence.found
    )


def _time(found: FoundPiece) -> str:
    return f"{found.created:%Y-%m-%d %H:%M:%S} UTC"
