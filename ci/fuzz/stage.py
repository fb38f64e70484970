"""Asks every operation with requests that nobody wrote, and judges the answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio

from ci.errors import ServerFault, UsageError
from ci.fuzz.answers import Sender
from ci.fuzz.asked import OperationResult
from ci.fuzz.drawn import DrawingEnd, DrawnRequest, RequestKind, Wanted, drawing
from ci.fuzz.known import KnownDefects, packaged
from ci.fuzz.operations import Operations, choose, schema_of
from ci.report.model import Case
from ci.secrets import files
from ci.server.client import ServerClient
from ci.server.exchange import exchanging
from ci.settings.fuzz import FuzzSettings, KnownDefect
from ci.stages import StageResult, Tell
from ci.verdict import Outcome

NAME = "fuzz"
SENT = "fuzz.jsonl"
"""Every request that was sent, a line each."""
ALIVE = "server answers"
BUDGET = "budget"
NOT_ASKED = "operations that were not asked"
LAST = 3
"""How many requests before a server's end are told."""


class _Dead(Exception):
    """The server answers nothing any more."""


@dataclass
class Fuzzing:
    """One run against one server.

    Args:
        url: The server's base URL.
        settings: How much is asked.
        tell: Is told each case as soon as it is known.
        note: Is told what is going on.
    """

    url: str
    settings: FuzzSettings
    tell: Tell
    note: Callable[[str], None]
    sent: Counter[str] = field(default_factory=Counter)
    last: list[DrawnRequest] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    async def run(self, folder: Path) -> StageResult:
        """Ask, and leave every request that was sent in `folder`.

        Raises:
            UsageError: No operation is named.
            ServerFault: The server gives no schema.
        """
        async with (
            ServerClient(self.url) as client,
            exchanging(self.url, seconds=self.settings.timeout) as exchange,
        ):
            version = str((await client.server_info()).get("version", ""))
            document = await schema_of(exchange)
            operations = choose(document, self.settings.include, self.settings.exclude)
            if not operations.asked:
                raise UsageError(f"fuzz: none of the server's operations is {self._named()}")
            known = KnownDefects.of(self._entries(), version, datetime.now(UTC).date())
            self.note(f"{len(operations.asked)} operations of SGLang {version or 'unknown'}")
            with files.lines(folder / SENT) as lines:
                waiting = list(operations.asked)
                sender, asked = Sender(exchange), OperationResult.of(waiting)
                await _Run(self, client, sender, known, lines, waiting, asked).all(document)
        return StageResult(facts=self._facts(version, operations, known))

    def _named(self) -> str:
        return " or ".join(self.settings.include)

    def _entries(self) -> tuple[KnownDefect, ...]:
        return (*self.settings.known, *(packaged() if self.settings.packaged else ()))

    def _facts(self, version: str, operations: Operations, known: KnownDefects) -> dict[str, str]:
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
    known: KnownDefects
    lines: files.Lines
    waiting: list[str]
    asked: OperationResult

    async def all(self, document: Mapping[str, Any]) -> None:
        """Ask every operation, until the budget is spent or the server is dead."""
        at, end = self.of.settings, "the run was cut off"
        counts = (at.examples, at.edges, at.seed, at.drawing, at.output_tokens)
        try:
            with anyio.move_on_after(at.budget) as budget:
                await self._alive()
                await self._ask(document, Wanted(tuple(self.waiting), *counts))
                end = ""
            if budget.cancelled_caught:
                end = f"the budget of {at.budget:g} s was spent"
        except _Dead:
            end = "the server was dead"
        finally:
            if end:
                self._cut(end, spent=budget.cancelled_caught)

    async def _ask(self, document: Mapping[str, Any], wanted: Wanted) -> None:
        async with drawing(document, wanted) as drawn:
            async for one in drawn:
                if isinstance(one, DrawnRequest):
                    await self._send(one)
                else:
                    await self._stop(one)

    async def _send(self, drawn: DrawnRequest) -> None:
        if self.asked.withholds(drawn, self.known):
            return
        sent = await self.sender.send(drawn)
        self.of.last = [*self.of.last, sent.drawn][-LAST:]
        self.lines.write(f"{sent.line()}\n")
        self.lines.flush()
        self.of.sent[sent.named] += 1
        self.asked.take(sent, self.known)
        if sent.status is None:
            await self._alive()

    async def _stop(self, stopped: DrawingEnd) -> None:
        """Take in the end of a kind, which may be the end of the operation."""
        asked = self.asked
        asked.stop(stopped)
        if stopped.kind != list(RequestKind)[-1]:
            return
        self.of.problems += [
            f"{asked.operation}, {kind}: {it}" for kind, it in asked.problems.items()
        ]
        self._tell(asked)
        self.waiting.pop(0)
        self.asked = OperationResult.of(self.waiting)
        await self._alive()

    def _tell(self, asked: OperationResult, cut: str = "") -> None:
        for case in asked.cases(self.of.url, self.known.expired, cut):
            self.of.tell(case)

    def _cut(self, end: str, *, spent: bool) -> None:
        """Tell what was found of the operation that was being asked, and which ones never were."""
        if self.asked.statuses:
            self._tell(self.asked, f"not asked to its end: {end}")
        begun = 1 if self.asked.statuses and not spent else 0
        left = ", ".join(self.waiting[begun:])
        if left:
            name, before = (BUDGET, "before the end of") if spent else (NOT_ASKED, "before")
            message = f"{end} {before} {left}"
            self.of.tell(Case(name=name, outcome=Outcome.INCONCLUSIVE, message=message))

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
            self.of.tell(case)
            raise _Dead from error
