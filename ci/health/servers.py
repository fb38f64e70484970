"""The servers that a check uses up, one after the other."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from types import TracebackType
from typing import Self

from ci.health.targets import FaultTarget

Opener = Callable[[str], AbstractAsyncContextManager[FaultTarget]]
"""Opens a fresh, ready server; its argument names what it is for."""


class Servers:
    """Hands out a server that is well, and replaces it where it was used up.

    Args:
        fresh: Opens one; None where there is only the one that runs.
        target: The one that runs, where its processes can be reached.
    """

    def __init__(self, fresh: Opener | None, target: FaultTarget | None = None) -> None:
        self._fresh, self._target, self._open = fresh, target, AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Open none yet."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End what was started."""
        await self._open.__aexit__(kind, error, trace)

    async def get(self, purpose: str) -> FaultTarget | None:
        """Return a server whose processes can be reached; None where there is none (any more)."""
        if self._target is None and self._fresh:
            self._target = await self._open.enter_async_context(self._fresh(purpose))
        return self._target

    async def spend(self) -> None:
        """Give up the current server."""
        self._target = None
        await self._open.aclose()
        self._open = AsyncExitStack()
