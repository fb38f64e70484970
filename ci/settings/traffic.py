"""The settings of the streams that `traffic` sends."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ci.settings.bench import Count, Rate
from ci.settings.fields import Budget, Filled, NoBool, Section

MOST_STREAMS = 8
"""Streams under way at once up to which the client's own time is small beside a server's."""


class TrafficSettings(Section):
    """[traffic]: the streams that `traffic` sends, and what is told of each."""

    api: Literal["both", "generate", "chat"] = Field(
        "both", description="What is asked: /generate, OpenAI's chat completions, or either."
    )
    model: str = Field("", description="The model's name for the chat API; empty: as served.")
    rate: Rate = Field(2.0, description="Streams that start each second.")
    concurrency: Annotated[int, Field(ge=1, le=MOST_STREAMS), NoBool] = Field(
        MOST_STREAMS,
        description="Most streams under way at once; a start that would exceed it is left out.",
    )
    prompt_words: Count = Field(16, description="Words of a prompt.")
    output_tokens: Count = Field(16, description="Tokens of an answer.")
    slow: Budget | None = Field(
        None, description="Most seconds to the first token; unset: slow streams aren't judged."
    )
    patience: Budget = Field(15.0, description="Most seconds without a part of an answer.")
    limit: Budget = Field(120.0, description="Most seconds of one stream.")
    slot_headers: tuple[Filled, ...] = Field(
        ("x-sglang-slot", "x-smg-routed-worker-id"),
        description="Headers by which a router names the slot that answered; the first one counts.",
    )
    retry_header: str = Field(
        "x-sglang-retries",
        description="Header by which a router tells how often it retried; 0 or missing: never.",
    )
