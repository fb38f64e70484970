"""What sections are made of: their base, and the types that several of them use."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
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
OptionalPath = Annotated[Path | None, BeforeValidator(_unset)]


class Section(BaseModel):
    """A table of the file: frozen, and without room for unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def misfit(below: tuple[str, ...], problem: str, allowed: str = "") -> PydanticCustomError:
    """Return the error of a validator that sees the fault in a value `below` its own."""
    return PydanticCustomError(
        "misfit", "{problem}", {"below": below, "problem": problem, "allowed": allowed}
    )
