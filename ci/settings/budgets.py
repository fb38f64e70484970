"""How large an image and how slow a start may be: alone, and beside a baseline's."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ci.settings.bench import Effect
from ci.settings.fields import Budget, NoBool, Section

Bytes = Annotated[int, Field(ge=0, le=10**15), NoBool]
Growth = Annotated[float, Field(ge=0, le=1000), NoBool]


class BudgetSettings(Section):
    """[budgets]: what an image may weigh and a start may take, alone and beside a baseline's."""

    image_bytes: Bytes = Field(0, description="Most bytes of an image, compressed; 0: any.")
    image_growth: Growth = Field(0.05, description="Growth of an image that is let pass: a share.")
    layer_growth: Growth = Field(0.10, description="The same of one layer.")
    package_growth: Growth = Field(0.10, description="The same of one package, on disk.")
    size_floor: Bytes = Field(10_000_000, description="Bytes by which anything may grow.")
    start_up: Budget | None = Field(None, description="Most seconds of a whole start.")
    process_started: Budget | None = Field(None, description="Of the median start's phase.")
    port_open: Budget | None = Field(None, description="The same of the phase port open.")
    serving: Budget | None = Field(None, description="Likewise.")
    first_token: Budget | None = Field(None, description="Likewise.")
    arguments: Budget | None = Field(None, description="Likewise; a part of port_open.")
    scheduler: Budget | None = Field(None, description="Likewise; a part of port_open.")
    weights: Budget | None = Field(None, description="Likewise; a part of port_open.")
    kv_cache: Budget | None = Field(None, description="Likewise; a part of port_open.")
    graph_capture: Budget | None = Field(None, description="Likewise; a part of port_open.")
    warm_up: Budget | None = Field(None, description="Likewise; a part of serving.")
    startup_growth: Effect = Field(
        0.10, description="Growth of a phase that must not pass; half of it doesn't matter yet."
    )
    startup_floor: Budget = Field(
        0.5, description="Seconds by which a phase may grow beside that, however short it is."
    )
