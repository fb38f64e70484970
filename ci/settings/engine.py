"""The settings of the engine: which server software is proven."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ci import SGLANG
from ci.settings.fields import HostPath, Section


class EngineSettings(Section):
    """[engine]: which server software is proven, and where it is installed."""

    profile: str = Field(
        SGLANG, min_length=1, description="An engine profile, ours or an installed package's."
    )
    python: Annotated[str, HostPath("program", "image")] = Field(
        "", description="Interpreter that has the engine; empty: this one. Not for sglang."
    )
    command: tuple[str, ...] = Field(
        (),
        description="Starts it instead; {model} {host} {port} {name} {python} are filled in."
        " Not for sglang.",
    )
