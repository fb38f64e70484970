"""What came of one operation, and the cases that tell it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import anyio

from ci.fuzz.answers import Sent
from ci.fuzz.drawn import DrawingEnd, DrawnRequest, RequestKind
from ci.fuzz.known import KnownDefects, defect_of
from ci.report.model import Case
from ci.settings.fuzz import KnownDefect
from ci.verdict import Outcome


@dataclass
class OperationResult:
    """What came of one operation.

    Args:
        operation: Its method and path.
        begun: When it was begun, on anyio's clock.
        drawn: How many requests of each kind there were, those that weren't sent too.
        statuses: How often each status came.
        defects: Wrong answers, by what is wrong and by the one field that was at its edge.
        accepted: How often each accepted defect was met.
        withheld: How many requests weren't sent.
        problems: Why there are fewer requests of a kind than wanted.
        refused: What the first answer that asks for another API key wants; empty for none.
    """

    operation: str
    begun: float = 0.0
    drawn: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
    defects: dict[tuple[str, str], list[Sent]] = field(default_factory=dict)
    accepted: Counter[str] = field(default_factory=Counter)
    withheld: int = 0
    problems: dict[str, str] = field(default_factory=dict)
    refused: str = ""

    @classmethod
    def of(cls, waiting: Sequence[str]) -> OperationResult:
        """Return what came of the first operation that waits so far: nothing."""
        return cls(next(iter(waiting), ""), anyio.current_time())

    def withholds(self, drawn: DrawnRequest, known: KnownDefects) -> bool:
        """Count a request, and return whether it is not sent."""
        self.drawn[drawn.kind] += 1
        withheld = known.withheld(drawn) is not None
        self.withheld += withheld
        return withheld

    def take(self, sent: Sent, known: KnownDefects) -> None:
        """Take in an answer."""
        self.statuses[sent.named] += 1
        self.refused = self.refused or sent.refused
        accepted = known.accepted(sent.drawn, sent.wrong) if sent.wrong else None
        if accepted:
            self.accepted[accepted.id] += 1
        elif sent.wrong:
            self.defects.setdefault((sent.defect, sent.drawn.outer), []).append(sent)

    def stop(self, stopped: DrawingEnd) -> None:
        """Take in the end of a kind."""
        if stopped.problem:
            self.problems[stopped.kind] = stopped.problem

    def cases(self, url: str, expired: Sequence[KnownDefect], cut: str = "") -> Iterator[Case]:
        """Yield a case for each defect, or one where there is none.

        Args:
            url: The server's base URL.
            expired: Defects that were accepted once.
            cut: Why not all of its requests were sent; empty where they were.
        """
        seconds = anyio.current_time() - self.begun
        barred = self.refused if self._barred() else ""
        lacking = [*filter(None, (barred, *self._lacking(), cut))]
        found = self._merged()
        for name, sent in zip(self._names(list(found)), found.values(), strict=True):
            least = min(sent, key=lambda one: len(one.drawn.body) + len(one.drawn.target))
            count = _requests(len(sent), least.drawn.outer)
            told = [f"{least.wrong}; {count}{_once(least, expired)}", *lacking]
            yield Case(
                name=name,
                outcome=Outcome.FAILED,
                message="; ".join(told),
                details=least.drawn.curl(url),
                seconds=seconds,
            )
        if not found:
            known = Outcome.PASSED if self.statuses else Outcome.SKIPPED
            lacks = Outcome.ERROR if barred else Outcome.INCONCLUSIVE
            outcome = lacks if lacking else known
            message = "; ".join([*lacking, self._told()])
            yield Case(name=self.operation, outcome=outcome, message=message, seconds=seconds)

    def _barred(self) -> bool:
        """Return whether another API key was asked for, and no request was let in."""
        return bool(self.refused) and not any(status[0] == "2" for status in self.statuses)

    def _told(self) -> str:
        told = [f"{status} {count}" for status, count in sorted(self.statuses.items())]
        told += [f"accepted as {name} {count}" for name, count in self.accepted.items()]
        told += [f"not sent {self.withheld}"] if self.withheld else []
        told += [f"{kind}: {why}" for kind, why in self.problems.items() if self.drawn[kind]]
        return ", ".join(told) or "nothing was drawn"

    def _lacking(self) -> list[str]:
        """Return which kinds of requests there were none of, although there could be."""
        return [
            f"no {kind} request was drawn: {self.problems[kind]}"
            for kind in RequestKind
            if kind in self.problems and not self.drawn[kind]
        ]

    def _merged(self) -> dict[tuple[str, str], list[Sent]]:
        """Return the defects: a whole request shows the one that a field has shown, if any did."""
        found = {key: list(sent) for key, sent in sorted(self.defects.items()) if key[1]}
        for (wrong, at), sent in self.defects.items():
            if not at:
                same = next((key for key in found if key[0] == wrong), (wrong, at))
                found.setdefault(same, []).extend(sent)
        return found

    def _names(self, found: Sequence[tuple[str, str]]) -> list[str]:
        """Return what the defects are called: by their fields, or by number."""
        if len(found) == 1:
            return [self.operation]
        fields = Counter(at for _, at in found)
        return [
            f"{self.operation} ({at if at and fields[at] == 1 else f'{at} {number}'.strip()})"
            for number, (_, at) in enumerate(found, 1)
        ]


def _requests(count: int, field: str) -> str:
    requests = "1 request" if count == 1 else f"{count} requests"
    return f"{requests} by {field}" if field else requests


def _once(sent: Sent, expired: Sequence[KnownDefect]) -> str:
    """Return until when a defect was accepted, where it was."""
    found = defect_of(expired, sent.drawn, sent.wrong)
    return f"; accepted until {found.until} only ({found.id})" if found else ""
