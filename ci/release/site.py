"""A repository as a folder of pages: what is in its environments, what was, and every release.

Everything comes from the registry; signatures, policies and histories are judged here and now. The
pages need nothing but each other, and open from disk.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import zip_longest
from typing import TYPE_CHECKING

from ci.errors import BrokenArtifact, MissingArtifact
from ci.registry.reference import DIGEST, SHORT
from ci.release.chronicle import Chronicle
from ci.release.kind import Cell, Link, Table
from ci.release.page import ReleasePage, page_of
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
TAGS = 500
"""Most tags that are looked up, the last by their names first."""
_HISTORY_TAG = ".history"
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
            RegistryFault: The registry can't be asked, or has no such repository.
        """
        registry = self.session.registry
        if not self._tags and not any(one.lines for one in self._chronicles.values()):
            told = "no such repository, or nothing in it"
            raise MissingArtifact(str(registry.reference), "status", told)
        back = Table(
            "Further", ("page",), ((Link("all environments and releases", f"../{INDEX}"),),)
        )
        for digest, judge in self._judges.items():
            page = page_of(judge)
            yield _path(digest), replace(page, sections=(*page.sections, back))
        sections = (
            Table("Environments", _PLACES, tuple(map(self._place, self._chronicles))),
            *map(self._history, self._chronicles),
            Table("Releases", _RELEASES, tuple(self._releases())),
            Table("Further", ("page",), tuple((Link(*one),) for one in further.items())),
        )
        facts = {"judged": f"{self.session.now:%Y-%m-%d %H:%M:%S} UTC"}
        if more := len(self._known) - len(self._judges):
            facts["releases without a page"] = str(more)
        filled = tuple(_without_empty(section) for section in sections if section.rows)
        yield INDEX, ReleasePage(str(self.session.registry.reference), facts, filled, "Status")

    @cached_property
    def _chronicles(self) -> dict[str, Chronicle]:
        names = self.session.settings.environments
        return {name: Chronicle.of(self.session.reader(name)) for name in names}

    @cached_property
    def _tags(self) -> dict[str, str]:
        """Tag to digest of what is tagged, but for environments and what registries keep."""
        registry = self.session.registry
        named = [
            tag
            for tag in sorted(registry.tags(), reverse=True)
            if tag not in self._chronicles and not tag.startswith(_FALLBACK)
            if not tag.endswith(_HISTORY_TAG)
        ]
        found = {tag: registry.resolve(tag) for tag in named[:TAGS]}
        return {tag: there.digest for tag, there in found.items() if there}

    @cached_property
    def _there(self) -> dict[str, str]:
        """Environment to the digest that its tag names; none where there is no such tag."""
        found = {name: self.session.registry.resolve(name) for name in self._chronicles}
        return {name: there.digest for name, there in found.items() if there}

    @cached_property
    def _known(self) -> dict[str, None]:
        """The digest of every release: what is there first, then what was, the newest first."""
        shown = [one.lines[:LINES] for one in self._chronicles.values()]
        turns = [line.digest for turn in zip_longest(*shown) for line in turn if line]
        known = (*self._there.values(), *turns, *self._tags.values())
        return dict.fromkeys(digest for digest in known if DIGEST.fullmatch(digest))

    @cached_property
    def _judges(self) -> dict[str, Judge]:
        """Digest to its judge, of each release that the registry still has."""
        read = {name: chronicle.lines for name, chronicle in self._chronicles.items()}
        found: dict[str, Judge] = {}
        for digest in self._known:
            if len(found) == RELEASES:
                break
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
        there = self._there.get(name)
        if there is None:
            return name, "nothing", "", "", "", chronicle.problem
        newest = next((one for one in chronicle.lines if one.digest == there), None)
        since = f"{_time(newest)} by {newest.actor or 'unknown'}" if newest else ""
        judge = self._judges.get(there)
        allowed: Cell = judge.check(name).verdict if judge else ""
        deployed = _deployed(judge, name) if judge else ""
        return name, self._link(there), since, allowed, deployed, chronicle.problem

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
