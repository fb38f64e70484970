"""A repository as a folder of pages: what is in its environments, what was, and every release.

Everything comes from the registry; signatures, policies and histories are judged here and now. The
pages need nothing but each other, and open from disk.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from ci.errors import BrokenArtifact, MissingArtifact
from ci.registry.reference import DIGEST
from ci.release.chronicle import Chronicle
from ci.release.kind import Cell, Link, Table
from ci.release.page import SHORT, ReleasePage, page_of
from ci.verdict import Verdict

if TYPE_CHECKING:
    from ci.release.history import HistoryLine
    from ci.release.judge import Judge
    from ci.release.session import RepositorySession

INDEX, FOLDER = "index.html", "releases"
RELEASES = 50
"""Most releases that get a page: those of the environments' histories first, then others by tag."""
LINES = 20
"""Most promotions of an environment that the first page shows; its history is judged whole."""
_FALLBACK = "sha256-"
"""How a tag begins by which a registry without referrers keeps a digest's list of them."""


@dataclass(frozen=True)
class Site:
    """A repository, and what there is to tell of it.

    Args:
        session: The repository, and how it is judged.
    """

    session: RepositorySession

    def pages(self, further: Mapping[str, str]) -> Iterator[tuple[str, ReleasePage]]:
        """Yield path below the folder, and page; the first page is the last one.

        Args:
            further: Title to path of other pages that the first one leads to.

        Raises:
            RegistryFault: The registry can't be asked.
        """
        told: dict[str, ReleasePage] = {}
        for digest, judge in self._judges.items():
            told[digest] = page_of(judge)
            yield _path(digest), told[digest]
        sections = (
            Table("Environments", _PLACES, tuple(map(self._place, self._chronicles))),
            *map(self._history, self._chronicles),
            Table("Releases", _RELEASES, tuple(self._releases())),
            Table("Further", ("page",), tuple((Link(*one),) for one in further.items())),
        )
        facts = {"judged": f"{self.session.now:%Y-%m-%d %H:%M:%S} UTC"}
        filled = tuple(_without_empty(section) for section in sections if section.rows)
        yield INDEX, ReleasePage(str(self.session.registry.reference), facts, filled, "Status")

    @cached_property
    def _chronicles(self) -> dict[str, Chronicle]:
        names = self.session.settings.environments
        return {name: Chronicle.of(self.session.reader(name)) for name in names}

    @cached_property
    def _tags(self) -> dict[str, str]:
        """Tag to digest of what is tagged, but for environments and what registries keep."""
        taken = {tag for name in self._chronicles for tag in (name, f"{name}.history")}
        registry = self.session.registry
        free = [tag for tag in registry.tags() if tag not in taken]
        named = [tag for tag in free if not tag.startswith(_FALLBACK)][-RELEASES:]
        found = {tag: registry.resolve(tag) for tag in named}
        return {tag: there.digest for tag, there in found.items() if there}

    @cached_property
    def _judges(self) -> dict[str, Judge]:
        """Digest to its judge, of each release that the registry still has."""
        lines = [line.digest for one in self._chronicles.values() for line in one.lines[:LINES]]
        read = {name: chronicle.lines for name, chronicle in self._chronicles.items()}
        found: dict[str, Judge] = {}
        for digest in dict.fromkeys((*lines, *self._tags.values())):
            if not DIGEST.fullmatch(digest) or len(found) == RELEASES:
                continue
            try:
                found[digest] = replace(self.session.judge(digest), read=read)
            except (MissingArtifact, BrokenArtifact):
                continue  # said where it is named
        return found

    def _link(self, digest: str) -> Cell:
        """Return a digest as it is shown: with its page, or without one."""
        short = digest[:SHORT]
        if digest in self._judges:
            return Link(short, _path(digest))
        return f"{short} (without a page)" if digest else "unknown"

    def _place(self, name: str) -> tuple[Cell, ...]:
        """Return the row of an environment."""
        chronicle = self._chronicles[name]
        there = self.session.registry.resolve(name)
        if there is None:
            return name, "nothing", "", "", "", chronicle.problem
        newest = next((one for one in chronicle.lines if one.digest == there.digest), None)
        since = f"{_time(newest)} by {newest.actor or 'unknown'}" if newest else ""
        judge = self._judges.get(there.digest)
        allowed: Cell = judge.check(name).verdict if judge else ""
        deployed = _deployed(judge, name) if judge else ""
        return name, self._link(there.digest), since, allowed, deployed, chronicle.problem

    def _history(self, name: str) -> Table:
        """Return the promotions to an environment, the newest first."""
        chronicle = self._chronicles[name]
        rows = tuple(self._promotion(line) for line in chronicle.lines[:LINES])
        more = len(chronicle.lines) - len(rows)
        rest: tuple[tuple[Cell, ...], ...] = ((f"and {more} more", "", "", "", ""),) if more else ()
        return Table(f"History of {name}", _HISTORY, rows + rest)

    def _promotion(self, line: HistoryLine) -> tuple[Cell, ...]:
        told = [
            "roll-back" if line.rollback else "",
            f"after a roll-back: {line.resumed}" if line.resumed else "",
            f"not to be believed: {line.problem}" if line.problem else "",
        ]
        told_of = "; ".join(filter(None, told))
        signer = f"{line.actor or 'unknown'}, signed by {line.found.signer or 'nobody'}"
        return str(line.number or "?"), self._link(line.digest), _time(line), signer, told_of

    def _releases(self) -> Iterator[tuple[Cell, ...]]:
        """Yield a row for each release: what it is called, and where it may go."""
        for digest, judge in self._judges.items():
            tags = ", ".join(tag for tag, of in self._tags.items() if of == digest)
            verdicts = {name: judge.check(name).verdict for name in self._chronicles}
            may = ", ".join(name for name, one in verdicts.items() if one is Verdict.PASSED)
            yield self._link(digest), tags, may or "nowhere"


_PLACES = ("environment", "there now", "since", "may be there", "last deployment", "problem")
_HISTORY = ("number", "release", "when", "by", "")
_RELEASES = ("release", "tags", "may go to")


def _without_empty(table: Table) -> Table:
    """Return a table without the columns that nothing stands in."""
    kept = [at for at in range(len(table.head)) if any(row[at] for row in table.rows)]
    head, *rows = [tuple(row[at] for at in kept) for row in (table.head, *table.rows)]
    return Table(table.title, tuple(map(str, head)), tuple(rows))


def _path(digest: str) -> str:
    return f"{FOLDER}/{digest.replace(':', '-')}.html"


def _time(line: HistoryLine) -> str:
    return f"{line.created:%Y-%m-%d %H:%M:%S} UTC" if line.found.statement else ""


def _deployed(judge: Judge, environment: str) -> Cell:
    """Return how the last deployment of a release to an environment ended."""
    of_it = [
        piece
        for piece in judge.evidence.of("deployment")
        if piece.predicate.get("environment") == environment and not piece.problem
    ]
    newest = max(of_it, key=lambda piece: piece.created, default=None)
    ended = str(newest.predicate.get("verdict", "")) if newest else ""
    return Verdict(ended) if ended in set(Verdict) else ended
