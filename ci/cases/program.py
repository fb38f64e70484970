"""A case's program: SGLang's frontend language as data.

`say`, `gen`, `select` and `fork` mean what they mean in `sglang.lang`. As data a program is run
by one interpreter (`interpreter.py`): by that language where SGLang is installed, and over plain
HTTP where it isn't (`replay.py`). Decoding is greedy.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
Limit = Annotated[int, Field(ge=1, le=4096)]


class CasePart(BaseModel):
    """Anything that a file of cases holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Say(CasePart):
    """Text that is put to the prompt as it is."""

    say: str = Field(min_length=1)


class Gen(CasePart):
    """An answer of the server, which becomes part of the prompt.

    `penalty` is a frequency penalty: it leads a weak model out of the white space that a JSON
    schema leaves free.
    """

    gen: Name
    max_tokens: Limit
    regex: str | None = None
    json_schema: dict[str, Any] | None = None
    stop: str | None = None
    ignore_eos: bool = False
    penalty: float = 0.0


class Select(CasePart):
    """The most probable of some options, which becomes part of the prompt."""

    select: Name
    options: tuple[str, ...] = Field(min_length=1)


class Fork(CasePart):
    """Branches that go on from the same prompt, each in its own way."""

    fork: tuple[tuple[Say | Gen, ...], ...] = Field(min_length=1)


Step = Say | Gen | Select | Fork
Program = tuple[Step, ...]


def flat(program: Program) -> Iterator[Say | Gen | Select]:
    """Yield all steps, those of branches included."""
    for step in program:
        if isinstance(step, Fork):
            for branch in step.fork:
                yield from branch
        else:
            yield step


def as_data(program: Program) -> list[dict[str, Any]]:
    """Return the steps as the interpreter takes them."""
    return [step.model_dump(exclude_none=True) for step in program]


def names(program: Program) -> list[str]:
    """Return the names of all answers, in order."""
    told = [getattr(step, "gen", "") or getattr(step, "select", "") for step in flat(program)]
    return [name for name in told if name]
