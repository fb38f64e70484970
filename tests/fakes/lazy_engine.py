"""An engine that runs nothing: it notes what is asked of it, and answers from a table.

Whatever the module makes of the engine's objects is a chain of calls; a chain that is awaited has
an answer by its last call, or is itself.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from typing import Any

Call = tuple[str, tuple[Any, ...]]


@dataclass(frozen=True)
class Lazy:
    """An object of the engine.

    Args:
        answers: Name of a call to what it gives, by its chain.
        calls: The calls that made it.
    """

    answers: dict[str, Callable[[Lazy], Any]] = field(repr=False)
    calls: tuple[Call, ...] = ()

    def __getattr__(self, name: str) -> Callable[..., Lazy]:
        """Return a call that makes another object."""
        if name.startswith("_"):
            raise AttributeError(name)

        def call(*given: Any, **named: Any) -> Lazy:
            return Lazy(self.answers, (*self.calls, (name, (*given, *named.values()))))

        return call

    def __await__(self) -> Generator[Any, None, Any]:
        """Return the answer to the last call."""
        yield from ()
        answer = self.answers.get(self.calls[-1][0])
        return answer(self) if answer else self

    def found(self, name: str) -> Iterator[tuple[Any, ...]]:
        """Yield what calls of a name were given, the last one first, those of parts too."""
        for called, given in reversed(self.calls):
            if called == name:
                yield given
            for part in given:
                if isinstance(part, Lazy):
                    yield from part.found(name)

    def contents(self) -> Lazy:
        """Return the text of a file that was written on the way; else what is in the table."""
        ((name,), *_) = self.found("file")
        written = next((given[1] for given in self.found("with_new_file") if given[0] == name), "")
        answers = self.answers | ({"contents": lambda _: written} if written else {})
        return Lazy(answers, (*self.calls, ("contents", ())))
