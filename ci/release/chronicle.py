"""The history of an environment as text, and what is wrong with it as a whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ci.release.history import HistoryLine, HistoryReader, disagreement

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class Chronicle:
    """All promotions to an environment.

    Args:
        lines: Those of the history, the newest first.
        forks: Those that are signed and no part of it.
        disagreement: Why the environment's tag isn't what the newest line says.
    """

    lines: tuple[HistoryLine, ...]
    forks: tuple[HistoryLine, ...] = ()
    disagreement: str = ""

    @classmethod
    def of(cls, reader: HistoryReader) -> Chronicle:
        """Read the whole history; raises RegistryFault where it can't be asked."""
        there = reader.registry.resolve(reader.environment)
        lines = tuple(reader.lines())
        if there is None and not lines:
            return cls(())
        newest = lines[0] if lines else None
        problem = disagreement(there.digest if there else None, newest)
        return cls(lines, tuple(reader.forks(lines)), problem)

    @property
    def problem(self) -> str:
        """What is wrong with it, in one line; empty where nothing is.

        A fork that is older than the newest line lost against it; a newer one is missing.
        """
        broken = [f"{line.manifest}: {line.problem}" for line in self.lines if line.problem]
        last = max((line.number for line in self.lines), default=0)
        missing = [
            f"promotion {fork.number}, {fork.manifest}, isn't in the history: it was never "
            "finished, or the history was set back"
            for fork in self.forks
            if fork.number > last
        ]
        found = [*filter(None, [self.disagreement]), *broken, *missing]
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        return f"{found[0]}{more}" if found else ""

    def texts(self) -> Iterator[str]:
        """Yield one line of text a promotion, forks last."""
        yield from (_text(line) for line in self.lines)
        yield from (f"{_text(fork)}; NOT IN THE HISTORY" for fork in self.forks)


def _text(line: HistoryLine) -> str:
    if not line.found.statement:
        return f"?  {line.manifest}  NOT TO BE BELIEVED: {line.problem}"
    signer = f"signed by {line.found.signer}" if line.found.signer else "unsigned"
    told = [
        f"{line.number}  {line.created:%Y-%m-%d %H:%M:%S} UTC  {line.digest}",
        f"  {line.actor or 'unknown'}, {signer}",
        ", roll-back" if line.rollback else "",
        f", after a roll-back: {line.resumed}" if line.resumed else "",
        f"; NOT TO BE BELIEVED: {line.problem}" if line.problem else "",
    ]
    return "".join(told)
