"""What sections are made of: their base, and the types that several of them use."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints
from pydantic_core import PydanticCustomError


def _no_bool(value: object) -> object:
    if isinstance(value, bool):
        raise PydanticCustomError("number_type", "Input should be a number")
    return value


def _unset(value: object) -> object:
    return None if value == "" else value


NoBool = BeforeValidator(_no_bool)
"""Keeps `true` from being taken for the number 1."""

Budget = Annotated[float, Field(gt=0, le=86_400), NoBool]
Filled = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]
OptionalPath = Annotated[Path | None, BeforeValidator(_unset)]


class Section(BaseModel):
    """A table of the file: frozen, and without room for unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Accepted(Section):
    """Something wrong that is known, and accepted for a while."""

    until: date = Field(description="The last day on which it is accepted, UTC.")
    reason: Filled = Field(description="Why it is accepted.")


def misfit(below: tuple[str, ...], problem: str, allowed: str = "") -> PydanticCustomError:
    """Return the error of a validator that sees the fault in a value `below` its own."""
    return PydanticCustomError(
        "misfit", "{problem}", {"below": below, "problem": problem, "allowed": allowed}
    )
