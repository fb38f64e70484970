"""A comparison of two servers that may be broken off, and gone on with later."""

from __future__ import annotations

from collections.abc import Mapping

from ci.gate.blocks import Arm, Block, Pair, columns
from ci.gate.decide import Decision, decide
from ci.gate.measured import Measured, Options, Running, Watcher
from ci.gate.sequential import Look


class Duel:
    """A comparison of two processes that stay up.

    Args:
        servers: URL of each side.
        options: How they are compared; its budget is the caller's affair.
        watcher: Who is told.

    Attributes:
        options: How they are compared.
        decision: The last look; None where there was none yet.

    Raises:
        UsageError: The schedule can't show anything.
    """

    def __init__(
        self, servers: Mapping[Arm, str], options: Options, watcher: Watcher | None = None
    ) -> None:
        self.options = options.of_processes()
        self._servers, self._watcher = servers, watcher or Watcher()
        self._looks = self.options.looks()
        self._measured = Measured(self.options, self._watcher)
        self.decision: Decision | None = None

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """The pairs that count so far."""
        return tuple(self._measured.pairs)

    @property
    def unusable(self) -> tuple[str, ...]:
        """Each pair that doesn't count, in one line."""
        return (*self._measured.broken, *self._measured.disturbed)

    @property
    def over(self) -> bool:
        """Whether no further pair is measured."""
        looked = self.decision.look if self.decision else None
        decided = self.decision is not None and self.decision.ends
        return bool(self._measured.cut) or decided or looked == self._looks[-1]

    async def measure(self, block: Block) -> None:
        """Measure pairs until a look ends it, the last look is over, or it is cut.

        Where it is cancelled, the next call goes on after the last whole pair. Each look is taken
        once, and no prompts are sent twice.

        Args:
            block: Measures one block on one of the servers.

        Raises:
            ServerFault: The candidate is broken.
            CheckBroken: The baseline is broken, so nothing can be said of the candidate.
        """
        if self.over:
            return
        servers = Running(block, self._servers[Arm.BASELINE], self._servers[Arm.CANDIDATE])
        await self._measured.warm_up(servers)
        while not self.over:
            look = self._next()
            while len(self.pairs) < look.pairs:
                await self._measured.measure(servers, look)
                if self._measured.cut:
                    return
            seen = columns(self.pairs, self.options.rule.metrics)
            self.decision = decide(seen, self.options.rule, look)
            self._watcher.looked(self.decision)

    def _next(self) -> Look:
        """Return the look that comes after the last one."""
        looked = self.decision.look.pairs if self.decision else 0
        return next(look for look in self._looks if look.pairs > looked)
