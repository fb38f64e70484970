"""Whether both servers say the same: answers to equal prompts, held against each other.

Under greedy decoding two equal servers mostly give equal answers. Not always: how requests
fall into batches changes the order of additions, and with it the last bits of the numbers, so
that a near tie between two tokens may fall either way. So the share of identical answers is a
fact for people (compare it with that of a server with itself), and a verdict only where a
least share is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ci.gate.blocks import Answer

_SHOWN = 12
"""Characters or tokens of each answer that are shown around the place where they part."""


@dataclass(frozen=True)
class Divergence:
    """The place at which two answers to one prompt part.

    Args:
        seed: Seed of the block's prompts.
        request: Which request of the block, from 0.
        position: First character or token that differs, from 0.
        baseline: What the baseline says from a little before there.
        candidate: What the candidate says there.
        unit: What positions count.
    """

    seed: int
    request: int
    position: int
    baseline: str
    candidate: str
    unit: str


@dataclass(frozen=True)
class Agreement:
    """How many answers were held against each other, and where they first parted.

    Args:
        compared: Answers that both servers gave to a same prompt.
        identical: How many of these were equal from end to end.
        first: The divergence that comes earliest in an answer; None where all are equal.
        unequal: Blocks in which one server gave another number of answers than the other.
    """

    compared: int = 0
    identical: int = 0
    first: Divergence | None = None
    unequal: int = 0

    @property
    def share(self) -> float | None:
        """Share of identical answers; None where nothing was compared."""
        return self.identical / self.compared if self.compared else None

    def with_block(
        self, seed: int, baseline: Sequence[Answer], candidate: Sequence[Answer]
    ) -> Agreement:
        """Return this agreement with the answers of one more pair of blocks."""
        if len(baseline) != len(candidate):
            counts = self.compared, self.identical, self.first
            return Agreement(*counts, unequal=self.unequal + 1)
        parted = [
            _divergence(seed, request, one, other)
            for request, (one, other) in enumerate(zip(baseline, candidate, strict=True))
            if one != other
        ]
        known = [*([self.first] if self.first else []), *parted]
        return Agreement(
            compared=self.compared + len(baseline),
            identical=self.identical + len(baseline) - len(parted),
            first=min(known, key=lambda divergence: divergence.position, default=None),
            unequal=self.unequal,
        )


def _divergence(seed: int, request: int, baseline: Answer, candidate: Answer) -> Divergence:
    pairs = enumerate(zip(baseline, candidate, strict=False))
    shorter = min(len(baseline), len(candidate))
    position = next((at for at, (one, other) in pairs if one != other), shorter)
    begin = max(0, position - _SHOWN // 2)
    return Divergence(
        seed=seed,
        request=request,
        position=position,
        baseline=_shown(baseline[begin : begin + _SHOWN]),
        candidate=_shown(candidate[begin : begin + _SHOWN]),
        unit="character" if isinstance(baseline, str) else "token",
    )


def _shown(part: Answer) -> str:
    return repr(part) if isinstance(part, str) else " ".join(map(str, part))
