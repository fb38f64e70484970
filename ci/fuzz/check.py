"""Asks every operation with requests that nobody wrote, and makes a check of the answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

import anyio

from ci.errors import ServerFault, UsageError
from ci.fuzz.answers import Sender, Sent
from ci.fuzz.drawn import Drawn, Kind, Stopped, Wanted, drawing
from ci.fuzz.known import Known, defect_of, packaged
from ci.fuzz.operations import Operations, choose, schema_of
from ci.report.model import Case, Check, now
from ci.server.client import ServerClient
from ci.server.exchange import exchanging
from ci.settings.fuzz import FuzzSettings, KnownDefect
from ci.verdict import Outcome

NAME = "fuzz"
SENT = "fuzz.jsonl"
"""Every request that was sent, a line each."""
ALIVE = "server answers"
LAST = 3
"""How many requests before a server's end are told."""


class _Dead(Exception):
    """The server answers nothing any more."""


@dataclass
class Asked:
    """What came of one operation."""

    operation: str
    statuses: Counter[str] = field(default_factory=Counter)
    defects: dict[str, list[Sent]] = field(default_factory=dict)
    accepted: Counter[str] = field(default_factory=Counter)
    withheld: int = 0
    problems: list[str] = field(default_factory=list)
    begun: float = 0.0


@dataclass
class Fuzzing:
    """One run against one server.

    Args:
        url: The server's base URL.
        settings: How much is asked.
        tell: Is told of each case as soon as it is known.
        note: Is told what is going on.
    """

    url: str
    settings: FuzzSettings
    tell: Callable[[Case], None]
    note: Callable[[str], None]
    cases: list[Case] = field(default_factory=list)
    sent: Counter[str] = field(default_factory=Counter)
    last: list[Drawn] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    async def check(self, folder: Path) -> Check:
        """Ask, and leave every request that was sent in `folder`.

        Raises:
            UsageError: No operation is named.
            ServerFault: The server gives no schema.
        """
        started, begin = now(), anyio.current_time()
        async with (
            ServerClient(self.url) as client,
            exchanging(self.url, seconds=self.settings.timeout) as exchange,
        ):
            version = str((await client.server_info()).get("version", ""))
            document = await schema_of(exchange)
            operations = choose(document, self.settings.include, self.settings.exclude)
            if not operations.asked:
                raise UsageError(f"fuzz: none of the server's operations is {self._named()}")
            known = Known.of(self._entries(), version, datetime.now(UTC).date())
            self.note(f"{len(operations.asked)} operations of SGLang {version or 'unknown'}")
            with (folder / SENT).open("w", encoding="utf-8") as lines:
                run = _Run(self, client, Sender(exchange), known, lines)
                await run.all(document, operations)
        facts = self._facts(version, operations, known)
        seconds = anyio.current_time() - begin
        return Check(
            name=NAME, started=started, seconds=seconds, cases=tuple(self.cases), facts=facts
        )

    def case(self, case: Case) -> None:
        """Keep a case, and tell it."""
        self.cases.append(case)
        self.tell(case)

    def _named(self) -> str:
        return " or ".join(self.settings.include)

    def _entries(self) -> tuple[KnownDefect, ...]:
        return (*self.settings.known, *(packaged() if self.settings.packaged else ()))

    def _facts(self, version: str, operations: Operations, known: Known) -> dict[str, str]:
        met = {one.id: known.met[one.id] for one in known.valid}
        told = {
            "sglang": version,
            "url": self.url,
            "seed": str(self.settings.seed),
            "requests": f"{self.sent.total()}: "
            + ", ".join(f"{status} {count}" for status, count in sorted(self.sent.items())),
            "known defects": ", ".join(f"{name} {count}" for name, count in met.items() if count),
            "known defects, not met": ", ".join(name for name, count in met.items() if not count),
            "accepted no longer": ", ".join(f"{one.id} ({one.until})" for one in known.expired),
            "operations left out": ", ".join(operations.left_out),
            "drawn in part": "; ".join(self.problems),
        }
        return {name: text for name, text in told.items() if text}


@dataclass
class _Run:
    of: Fuzzing
    client: ServerClient
    sender: Sender
    known: Known
    lines: TextIO

    async def all(self, document: Mapping[str, Any], operations: Operations) -> None:
        """Ask every operation, until the budget is spent or the server is dead."""
        at, waiting = self.of.settings, list(operations.asked)
        wanted = Wanted(operations.asked, at.examples, at.seed, at.drawing, at.output_tokens)
        with anyio.move_on_after(at.budget) as budget:
            try:
                async with drawing(document, wanted) as drawn:
                    asked = Asked(waiting[0], begun=anyio.current_time())
                    async for one in drawn:
                        if isinstance(one, Drawn):
                            await self._send(one, asked)
                        elif await self._ended(one, asked):
                            waiting.pop(0)
                            asked = Asked(waiting[0] if waiting else "", begun=anyio.current_time())
            except _Dead:
                return
        if budget.cancelled_caught:
            told = f"fuzz.budget, {at.budget:g} s, was spent before {', '.join(waiting)}"
            self.of.case(Case(name="budget", outcome=Outcome.INCONCLUSIVE, message=told))

    async def _send(self, drawn: Drawn, asked: Asked) -> None:
        if self.known.withheld(drawn):
            asked.withheld += 1
            return
        sent = await self.sender.send(drawn)
        self.of.last = [*self.of.last, sent.drawn][-LAST:]
        self.lines.write(f"{sent.line()}\n")
        self.lines.flush()
        status = str(sent.status or "no answer")
        asked.statuses[status] += 1
        self.of.sent[status] += 1
        if sent.wrong:
            self._judge(sent, asked)
        if sent.status is None:
            await self._alive()

    def _judge(self, sent: Sent, asked: Asked) -> None:
        accepted = self.known.accepted(sent.drawn, sent.wrong)
        if accepted:
            asked.accepted[accepted.id] += 1
        else:
            asked.defects.setdefault(sent.defect, []).append(sent)

    async def _ended(self, stopped: Stopped, asked: Asked) -> bool:
        """Take in the end of a kind; return whether it was the operation's last one."""
        if stopped.problem:
            asked.problems.append(f"{stopped.kind}: {stopped.problem}")
        if stopped.kind != list(Kind)[-1]:
            return False
        self.of.problems += [f"{asked.operation}, {problem}" for problem in asked.problems]
        for case in _cases(asked, self.of.url, self.known.expired):
            self.of.case(case)
        await self._alive()
        return True

    async def _alive(self) -> None:
        """Ask for a token.

        Raises:
            _Dead: None came; a case says so.
        """
        try:
            await self.client.first_token()
        except ServerFault as error:
            before = "\n".join(one.curl(self.of.url) for one in reversed(self.of.last))
            told = f"not after {self.of.last[-1].operation if self.of.last else 'nothing'}: {error}"
            case = Case(name=ALIVE, outcome=Outcome.FAILED, message=told, details=before)
            self.of.case(case)
            raise _Dead from error


def _cases(asked: Asked, url: str, expired: tuple[KnownDefect, ...]) -> Iterator[Case]:
    """Yield the cases of one operation: each of its defects, or that there is none."""
    seconds = anyio.current_time() - asked.begun
    for number, (_, found) in enumerate(sorted(asked.defects.items()), 1):
        least = min(found, key=lambda sent: len(sent.drawn.body) + len(sent.drawn.target))
        name = asked.operation if len(asked.defects) == 1 else f"{asked.operation} ({number})"
        yield Case(
            name=name,
            outcome=Outcome.FAILED,
            message=f"{least.wrong}; {_requests(len(found))}{_once(least, expired)}",
            details=least.drawn.curl(url),
            seconds=seconds,
        )
    if asked.defects:
        return
    told = [f"{status} {count}" for status, count in sorted(asked.statuses.items())]
    told += [f"accepted as {name} {count}" for name, count in asked.accepted.items()]
    told += [f"not sent {asked.withheld}"] if asked.withheld else []
    outcome = Outcome.PASSED if asked.statuses else Outcome.SKIPPED
    message = ", ".join(told) or "; ".join(asked.problems) or "nothing was drawn"
    yield Case(name=asked.operation, outcome=outcome, message=message, seconds=seconds)


def _requests(count: int) -> str:
    return "1 request" if count == 1 else f"{count} requests"


def _once(sent: Sent, expired: tuple[KnownDefect, ...]) -> str:
    """Return until when a defect was accepted, where it was."""
    found = defect_of(expired, sent.drawn, sent.wrong)
    return f"; accepted until {found.until} only ({found.id})" if found else ""
