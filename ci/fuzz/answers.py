"""Sends drawn requests, and says what is wrong with an answer."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from typing import Any

import anyio

from ci.errors import AnswerFault
from ci.fuzz.drawn import DrawnRequest
from ci.secrets.veil import beginning
from ci.server.documents import document
from ci.server.exchange import Exchange, Reply

SERVER_ERRORS = range(500, 600)
NOT_IMPLEMENTED = 501
BODY = 300
"""Most characters of an answer's body that are told."""
VARYING = re.compile(
    r"""[0-9a-f]{8,}|-?\d+(\.\d+)?(e[+-]?\d+)?|\b(inf|nan)\b|'[^']*'|"[^"]*\"""", re.IGNORECASE
)
"""What differs from request to request in answers that say the same."""
LINKS = {
    "model": ("GET /v1/models", ("data", 0, "id")),
    "response_id": ("POST /v1/responses", ("id",)),
}
"""Parameters of paths, and where an earlier answer gave a real value of each."""


@dataclass(frozen=True)
class Sent:
    """A request, and what came of it.

    Args:
        drawn: The request.
        seconds: How long it took.
        status: The answer's HTTP status; None where no whole answer came.
        wrong: What is wrong with the answer; empty for nothing.
        refused: What is to be done where it asks for another API key; empty where it doesn't.
    """

    drawn: DrawnRequest
    seconds: float
    status: int | None
    wrong: str
    refused: str = ""

    @property
    def named(self) -> str:
        """The status as it is counted."""
        return str(self.status or "no answer")

    @property
    def defect(self) -> str:
        """What is wrong, without what differs from request to request."""
        return VARYING.sub("…", self.wrong)

    def line(self) -> str:
        """Return one line of JSON; the request itself where something is wrong."""
        told = {
            "operation": self.drawn.operation,
            "kind": self.drawn.kind,
            "field": self.drawn.field,
            "status": self.status,
            "seconds": round(self.seconds, 4),
        }
        if self.wrong:
            told |= {"wrong": self.wrong, "target": self.drawn.target, "body": self.drawn.text}
        return json.dumps(told)


@dataclass
class Sender:
    """Sends requests to one server, and gives them the names that it gave.

    Args:
        exchange: The server.
    """

    exchange: Exchange
    _known: dict[str, str] = field(default_factory=dict)
    _turn: int = 0

    async def send(self, drawn: DrawnRequest) -> Sent:
        """Send a request, and judge the answer; what is returned has the path that was sent."""
        begin = anyio.current_time()
        drawn = replace(drawn, target=self._linked(drawn))
        try:
            answer = await self.exchange.ask(drawn.method, drawn.target, drawn.raw, drawn.headers)
        except AnswerFault as error:
            return Sent(drawn, anyio.current_time() - begin, None, error.problem)
        self._learn(drawn, answer)
        seconds = anyio.current_time() - begin
        refused = self.exchange.refusal(drawn.operation.partition(" ")[2], answer)
        return Sent(drawn, seconds, answer.status, wrong(answer), str(refused or ""))

    def _linked(self, drawn: DrawnRequest) -> str:
        """Return the request's path, every second time with a name that is there."""
        path = drawn.operation.partition(" ")[2]
        self._turn += 1
        for name, value in self._known.items():
            if f"{{{name}}}" in path and self._turn % 2:
                return path.replace(f"{{{name}}}", value)
        return drawn.target

    def _learn(self, drawn: DrawnRequest, answer: Reply) -> None:
        for name, (operation, steps) in LINKS.items():
            if drawn.operation == operation and answer.status in range(200, 300):
                found = _value(answer.body, steps)
                if isinstance(found, str) and found.isprintable():
                    self._known[name] = found


def _value(body: str, steps: tuple[str | int, ...]) -> Any:
    try:
        found = document(body)
        for step in steps:
            found = found[step]
    except (ValueError, LookupError, TypeError):
        return None
    return found


def wrong(answer: Reply) -> str:
    """Return what is wrong with an answer to any request whatever; empty for nothing.

    A refusal is right: whether it should have been one is what the smoke suite asks. That
    something isn't implemented (501) is a refusal too.
    """
    if answer.status in SERVER_ERRORS and answer.status != NOT_IMPLEMENTED:
        body = " ".join(answer.body.split())
        return f"HTTP {answer.status}: {beginning(body, BODY) or 'no body'}"
    if answer.kind == "application/json" and answer.body:
        try:
            document(answer.body)
        except ValueError as error:
            return f"HTTP {answer.status}: says that it is JSON, and isn't: {error}"
    return ""
