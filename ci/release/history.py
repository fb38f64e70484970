"""Which digest was in an environment, and when: a chain of promotions in the registry.

The tag `ENVIRONMENT.history` names the newest promotion, and each promotion names the one
before it in its signed statement, by the digest of its manifest. So nothing below a promotion
that is believed can be changed, left out or put in. What can be done from outside is to set
the tag itself back or elsewhere; `forks` looks for what that leaves behind.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from ci.errors import BrokenArtifact, MissingArtifact
from ci.registry.oci import Descriptor
from ci.registry.reference import DIGEST
from ci.release.found import FoundPiece
from ci.release.store import evidence_of, open_artifact

if TYPE_CHECKING:
    from ci.registry.client import Registry
    from ci.release.policy import Policy
    from ci.release.signing import Trust

PREVIOUS = "io.sglang-ci.previous"
"""Annotation: the manifest of the promotion before; only a hint."""


@dataclass(frozen=True)
class HistoryLine:
    """One promotion, as its signed statement tells it.

    Args:
        found: The statement, where it is kept, and who signed it.
        problem: Why it isn't to be believed, in one line; empty where it is.
    """

    found: FoundPiece
    problem: str = ""

    @property
    def manifest(self) -> str:
        """Digest of the manifest that it is kept in."""
        return self.found.artifact.digest

    @property
    def digest(self) -> str:
        """The image's digest; empty where the statement can't be read."""
        return self.found.statement.subject_digest if self.found.statement else ""

    @property
    def created(self) -> datetime:
        """When it was promoted, UTC."""
        return self.found.created

    @property
    def number(self) -> int:
        """Its place in the history, from 1; 0 where it names none."""
        number = self.found.predicate.get("number")
        return number if isinstance(number, int) else 0

    @property
    def previous(self) -> str:
        """Digest of the manifest of the promotion before; empty for the first."""
        hint = self.found.artifact.annotations.get(PREVIOUS, "")
        return str(self.found.predicate.get("previous", "") if self.found.statement else hint)

    @property
    def rollback(self) -> bool:
        """Whether it was a roll-back."""
        return self.found.predicate.get("rollback") is True

    @property
    def resumed(self) -> str:
        """Why something new went there after a roll-back; empty where nobody had to say it."""
        return str(self.found.predicate.get("resumed", ""))

    @property
    def actor(self) -> str:
        """Who promoted it, as the statement says."""
        where = self.found.predicate.get("where")
        return str(where.get("actor", "")) if isinstance(where, dict) else ""


@dataclass(frozen=True)
class HistoryReader:
    """Reads the history of one environment.

    Args:
        registry: The repository.
        policy: The environment's, which says whose promotions count.
        trust: Whose signatures are known.
    """

    registry: Registry
    policy: Policy
    trust: Trust

    @property
    def environment(self) -> str:
        """The environment's name, which is its tag too."""
        return self.policy.environment

    @property
    def tag(self) -> str:
        """The tag that names the newest promotion."""
        return f"{self.environment}.history"

    def head(self) -> str | None:
        """Return the digest of the newest promotion's manifest; None where there is none."""
        found = self.registry.resolve(self.tag)
        return found.digest if found else None

    def lines(self, head: str | None = None) -> Iterator[HistoryLine]:
        """Yield the promotions from the newest back, the broken ones with their problem.

        Args:
            head: Manifest of the newest promotion, where it is known.
        """
        at, number = head or self.head() or "", 0
        while DIGEST.fullmatch(at):
            line = self._line(at)
            problem = _out_of_line(line, number)
            yield line if line.problem else replace(line, problem=problem)
            at, number = line.previous, line.number

    def current(self) -> HistoryLine:
        """Return the promotion of the digest that is in the environment.

        Raises:
            MissingArtifact: Nothing is, or was.
            BrokenArtifact: The environment's tag names another digest than the newest
                promotion, or that promotion isn't to be believed.
        """
        newest = self.newest()
        there = self.registry.resolve(self.environment)
        if there is None and newest is None:
            raise MissingArtifact(self._name(), "current", "nothing was ever promoted there")
        problem = disagreement(there.digest if there else None, newest)
        if newest is None or problem:
            raise BrokenArtifact(self._name(), "current", problem)
        return newest

    def previous(self) -> HistoryLine:
        """Return the newest promotion of another digest than the current one.

        Raises:
            MissingArtifact: There was none.
            BrokenArtifact: The history up to there isn't to be believed; or see `current`.
        """
        now_there = self.current()
        for line in self.lines(now_there.manifest):
            if line.problem:
                problem = f"promotion {line.manifest} isn't to be believed: {line.problem}"
                raise BrokenArtifact(self._name(), "previous", problem)
            if line.digest != now_there.digest:
                return line
        raise MissingArtifact(self._name(), "previous", f"{now_there.digest} was the first there")

    def _name(self) -> str:
        return str(self.registry.reference.tagged(self.environment))

    def newest(self, head: str | None = None) -> HistoryLine | None:
        """Return the newest promotion; None where there was none."""
        return next(self.lines(head), None)

    def forks(self, lines: Iterable[HistoryLine]) -> list[HistoryLine]:
        """Return promotions that are signed and no part of the history.

        Each of them lost against another promotion at the same time, was never finished, or
        was cut off by somebody who set the history's tag back.

        Args:
            lines: The history; what is attached to their digests is looked at, and to the
                digest under the environment's tag.
        """
        known = list(lines)
        there = self.registry.resolve(self.environment)
        digests = {line.digest: None for line in known if line.digest}
        seen = {line.manifest for line in known}
        found: list[HistoryLine] = []
        for digest in digests | ({there.digest: None} if there else {}):
            image = there if there and there.digest == digest else self.registry.resolve(digest)
            pieces = evidence_of(self.registry, image, self.trust).of("promotion") if image else ()
            found += [line for line in map(self._judged, pieces) if line.manifest not in seen]
        return [line for line in found if not line.problem]

    def _line(self, manifest: str) -> HistoryLine:
        """Return the promotion in a manifest, however broken it is."""
        artifact, subject = Descriptor("", manifest, 0), ""
        try:
            read = self.registry.manifest(manifest)
            artifact = replace(read.descriptor, annotations=read.annotations)
            subject = read.subject.digest if read.subject else ""
        except (MissingArtifact, BrokenArtifact) as error:
            return HistoryLine(
                FoundPiece(artifact), f"gone or replaced in the registry: {error.problem}"
            )
        except ValueError as error:
            return HistoryLine(FoundPiece(artifact), f"malformed: {error}")
        return self._judged(open_artifact(self.registry, artifact, subject, self.trust))

    def _judged(self, found: FoundPiece) -> HistoryLine:
        """Return a promotion with what is wrong about it here."""
        environment = found.predicate.get("environment")
        problem = self.policy.disbelief(found)
        if not problem and found.kind != "promotion":
            problem = f"it is no promotion but a {found.kind or 'foreign statement'}"
        if not problem and environment != self.environment:
            problem = f"it is a promotion to {environment!r}"
        return HistoryLine(found, problem)


def was_there(digest: str, lines: Iterable[HistoryLine]) -> bool:
    """Return whether `digest` is, or has been, in the environment of these lines."""
    return any(line.digest == digest and not line.problem for line in lines)


def disagreement(there: str | None, newest: HistoryLine | None) -> str:
    """Return why an environment's tag and its history don't agree; empty where they do.

    Args:
        there: The digest that the tag names, if there is such a tag.
        newest: The newest promotion, if there was any.
    """
    if newest is None:
        return f"the tag names {there}, and nobody ever promoted anything: it was set by hand"
    if newest.problem:
        return f"the newest promotion, {newest.manifest}, isn't to be believed: {newest.problem}"
    if there == newest.digest:
        return ""
    return (
        f"the tag names {there or 'nothing'}, and {newest.digest} was promoted: it was set by "
        "hand, or that promotion isn't finished; promoting that digest again puts it right"
    )


def _out_of_line(line: HistoryLine, after: int) -> str:
    """Return why a promotion can't be the one before number `after` (0: any)."""
    if after and line.number != after - 1:
        return f"it calls itself number {line.number}, and stands before number {after}"
    if bool(DIGEST.fullmatch(line.previous)) != (line.number > 1):
        return f"it calls itself number {line.number}, and names {line.previous or 'none'} before"
    return ""
