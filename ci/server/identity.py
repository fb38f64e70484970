"""Who answers at a URL: a server that was restarted, or replaced by another, is noticed.

SGLang tells on `/server_info` its version and model, how long each phase of its start took
(`startup_time`) and the random seed that it drew then (`random_seed`): the last two stay the
same as long as a process lives, and no two starts have the same.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self

from ci.errors import BadAnswer, SglangCiError
from ci.report.model import Case
from ci.verdict import Outcome

NAME = "the same server answers throughout"
"""Name of the case that says so."""
PATH = "/server_info"

_STARTS = ("startup_time", "start_time", "random_seed")
Info = Mapping[str, Any]


@dataclass(frozen=True)
class Identity:
    """What a server says of itself that stays as it is while it lives; empty where it doesn't.

    Attributes:
        version: Version of the engine.
        model: Path of the model.
        address: Host and port that it was told to listen on.
        start: What no two starts have in common.
    """

    version: str
    model: str
    address: str
    start: str

    @classmethod
    def of(cls, info: Info) -> Self:
        """Return what an answer of `/server_info` tells."""
        address = [str(info[key]) for key in ("host", "port") if key in info]
        starts = {key: info[key] for key in _STARTS if info.get(key) is not None}
        return cls(
            version=str(info.get("version") or ""),
            model=str(info.get("model_path") or ""),
            address=":".join(address),
            start=json.dumps(starts, sort_keys=True) if starts else "",
        )

    @property
    def told(self) -> bool:
        """Whether it says anything."""
        return bool(self.version or self.model or self.start)

    def change(self, later: Self) -> str:
        """Return what is to be said where `later` answers after this; empty for the same."""
        pairs = {name: (getattr(self, name), getattr(later, name)) for name in _NAMED}
        other = [f"{name} {a or '?'}, then {b or '?'}" for name, (a, b) in pairs.items() if a != b]
        if other:
            return f"another server answers: {'; '.join(other)}"
        return f"restarted: version {self.version or '?'} was started anew" if self != later else ""


_NAMED = ("version", "model", "address")


def info(url: str, page: bytes) -> Info:
    """Return what the page of `/server_info` at `url` holds.

    Raises:
        BadAnswer: It is no JSON object.
    """
    try:
        found = json.loads(page)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise BadAnswer(url, "is no JSON object")
    return found


class Watched:
    """What the server at a URL said of itself, at one moment after the other.

    Args:
        ask: Returns its `/server_info`, or raises an error of `ci.errors`.
    """

    def __init__(self, ask: Callable[[], Awaitable[Info]]) -> None:
        self._ask = ask
        self._seen: list[tuple[str, Identity]] = []
        self._fault: SglangCiError | None = None

    async def look(self, moment: str) -> None:
        """Ask who answers now; `moment` is what a person calls this time."""
        try:
            found = Identity.of(await self._ask())
        except SglangCiError as error:
            self._fault = error
        else:
            self._fault = None
            self._seen.append((moment, found))

    @property
    def known(self) -> bool:
        """Whether the server ever said who it is."""
        return any(one.told for _, one in self._seen)

    @property
    def silent(self) -> bool:
        """Whether it was asked, and never said who it is."""
        return bool(self._seen or self._fault) and not self.known

    @property
    def change(self) -> str:
        """What is to be said of the first change; empty where there was none."""
        for (before, one), (after, other) in pairwise(self._seen):
            if change := one.change(other):
                return f"{change} (between {before} and {after})"
        return ""

    def case(self) -> Case:
        """Return what is to be said at the end."""
        outcome, message = self._judged()
        return Case(name=NAME, outcome=outcome, message=message)

    def _judged(self) -> tuple[Outcome, str]:
        if not self.known:
            why = str(self._fault or f"{PATH} tells no version, model or start")
            return Outcome.SKIPPED, f"the server doesn't say who it is: {why}"
        if change := self.change:
            return self._changed(change)
        if self._fault:
            return Outcome(self._fault.verdict.value), f"it no longer answers: {self._fault}"
        first = self._seen[0][1]
        blind = "" if first.start else "; it tells nothing of its start, so that none can be seen"
        version = f"version {first.version or 'unknown'}"
        return Outcome.PASSED, f"{version}, asked {len(self._seen)} times{blind}"

    def _changed(self, change: str) -> tuple[Outcome, str]:
        """Tell servers that answer by turns, each of them good, from one that took over."""
        order = [one for _, one in self._seen]
        changes = sum(one != other for one, other in pairwise(order))
        alike = len({(one.version, one.model) for one in order}) == 1
        if alike and changes >= len(set(order)):
            several = f"{len(set(order))} servers of {order[0].version} answer by turns"
            return Outcome.INCONCLUSIVE, f"{several}: give each one's own URL"
        return Outcome.FAILED, change
