"""An event loop whose clock stands still while anything happens, and leaps when nothing does.

Real sockets, no waiting, and delays that can be held to the microsecond on any machine.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

_T = TypeVar("_T")

GRACE = 0.02
"""Real seconds without any event on a socket, after which nothing is believed to be under way."""

HANG = 600.0
"""Virtual seconds after which a test counts as hung."""


class _Selector(selectors.SelectSelector):
    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is not None and timeout <= 0:
            return super().select(0)
        found = super().select(GRACE)
        if not found and timeout is not None:
            self.now += timeout
        return found


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop on a virtual clock, which starts at 0."""

    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)

    def time(self) -> float:
        """Return virtual seconds."""
        return self._virtual.now


def run(work: Coroutine[Any, Any, _T]) -> _T:
    """Run `work` to its end on a virtual clock."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(asyncio.wait_for(work, HANG))
