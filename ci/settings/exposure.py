"""The settings of what answers without a key."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ci.settings.fields import Budget, Section
from ci.settings.fuzz import Pattern


class ExposureSettings(Section):
    """[exposure]: whether routes that change a server may answer without a key."""

    in_ci: bool = Field(default=False, description="Whether `ci` asks too, in a second.")
    demand: Literal["listed", "closed"] = Field(
        "listed",
        description="closed: one that answers without a key is FAILED; listed: it is told.",
    )
    open: tuple[Pattern, ...] = Field(
        (), description="Operations (POST /open_session) that may be open, as regular expressions."
    )
    timeout: Budget = Field(10.0, description="Most seconds for one request.")
