"""A kind of evidence: what a module of `ci.release.evidence` says of the one that it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any, ClassVar

from ci.report.model import Case
from ci.verdict import Outcome, Verdict

if TYPE_CHECKING:
    from pydantic import ValidationError

    from ci.release.found import Evidence, FoundPiece
    from ci.release.publication import Making
    from ci.settings import EnvironmentSettings, Settings


@dataclass(frozen=True)
class Link:
    """A text that leads to another page, by its path beside this one."""

    text: str
    path: str


Cell = str | Verdict | Link


@dataclass(frozen=True)
class Table:
    """A table of a page; a cell that is a verdict is shown with its sign."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True)
class Judging:
    """What a piece is held against.

    Args:
        evidence: All that is attached to the image.
        environment: What the environment demands.
        settings: The settings in force.
        doubt: Says why a piece does not count; empty where it does.
        today: The day on which it is judged, UTC; the beginning of time for a roll-back,
            for which nothing that was accepted has ended.
    """

    evidence: Evidence
    environment: EnvironmentSettings
    settings: Settings
    doubt: Callable[[FoundPiece], str]
    today: date


class EvidenceKind:
    """A kind of evidence; a module overrides what is special about its own.

    Attributes:
        name: What settings call it; also the name of its module.
        predicate_type: URI of what its statements say.
        created: Where in the predicate the time stands at which it was made.
        order: Pieces are made and attached in this order. 0 is the report, by which one
            attempt to publish is told from another; 2 names all others.
        of_the_build: Whether its time is that of the build, which is before the report's.
    """

    name: ClassVar[str]
    predicate_type: ClassVar[str]
    created: ClassVar[tuple[str, ...]] = ("created",)
    order: ClassVar[int] = 1
    of_the_build: ClassVar[bool] = False

    def make(self, making: Making) -> dict[str, Any] | None:  # noqa: ARG002 - for others
        """Return the predicate on a publication; None where there is nothing to make it of."""
        return None

    def stays(self, piece: FoundPiece, making: Making) -> bool:  # noqa: ARG002 - for others
        """Return whether a piece of an earlier attempt serves this publication too."""
        return True

    def judge(self, piece: FoundPiece, judging: Judging) -> Iterator[Case]:  # noqa: ARG002 - for others
        """Yield whether what the piece says is good enough for an environment."""
        yield from ()

    def facts(self, piece: FoundPiece | None) -> dict[str, str]:  # noqa: ARG002 - for others
        """Return what the head of a release's page says; `piece` is the one to believe, if any."""
        return {}

    def tables(self, piece: FoundPiece) -> Iterator[Table]:  # noqa: ARG002 - for others
        """Yield the tables that a release's page shows."""
        yield from ()


def judged(name: str, problem: str) -> Case:
    """Return the case of one thing in a piece: FAILED with what is wrong, or else PASSED."""
    outcome = Outcome.FAILED if problem else Outcome.PASSED
    return Case(name=name, outcome=outcome, message=problem)


def first(error: ValidationError) -> str:
    """Return the first thing that is wrong with a predicate, in one line."""
    wrong = error.errors()[0]
    return f"{'.'.join(map(str, wrong['loc']))}: {wrong['msg']}"
