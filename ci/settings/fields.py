"""What sections are made of: their base, and the types that several of them use."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Literal

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
Unset = BeforeValidator(_unset)
"""Takes empty text for a value that isn't set."""


ALONG = "along"
"""In the place of what needs a path (`HostPath.use`): whoever sends those that travel."""


@dataclass(frozen=True)
class HostPath:
    """Marks a setting as a path of the machine on which its file lies.

    Every path has this mark in its type, because what it says is found there alone: a relative
    path starts at the folder of its file, and a container sees it only by an argument of the
    module.

    Args:
        kind: What lies there; `any` is a folder, or of some engines a file. A `program` without
            a slash is a name that is looked up in PATH.
        use: What needs it: a server that is proven; whoever asks a registry, or trusts what is
            signed there; the image itself; commands that there are on hosts alone; or nothing,
            as the run itself makes it.
        argument: The module's argument that brings it into a container; empty where there is none.
        beside: Folder beside the settings file that the argument stands for, and below which the
            path has to be; empty where the argument stands for the path itself.
        content: How a value begins that is the content itself and no path; empty where none is.
        travels: Whether it is a small file of whoever deploys, which goes along to another host.
            Any other path names something of the host on which it is used.
    """

    kind: Literal["file", "folder", "any", "program"]
    use: Literal["server", "registry", "trust", "image", "host", "output"]
    argument: str = ""
    beside: str = ""
    content: str = ""
    travels: bool = False

    def needed(self, uses: Container[str]) -> bool:
        """Return whether the path is needed for one of these uses."""
        return self.use in uses or (self.travels and ALONG in uses)


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
