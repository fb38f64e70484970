"""The settings of requests that are drawn from a server's own schema."""

from __future__ import annotations

import re
from typing import Annotated

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from pydantic import AfterValidator, Field

from ci.settings.fields import Accepted, Budget, Filled, NoBool, Section


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"{text!r} is no regular expression: {error}") from None
    return text


def _versions(text: str) -> str:
    try:
        SpecifierSet(text)
    except InvalidSpecifier:
        raise ValueError(f"{text!r} names no versions, such as <=0.5.23") from None
    return text


Pattern = Annotated[str, AfterValidator(_pattern)]

CHANGING = (
    r"(?i).*/[^/]*(weight|lora|profile|memory_occupation|expert_|elastic_ep|corpus|corpora|hicache"
    r"|internal_state|role_switch|trace_level|freeze_gc|slow_down|logging|remote_instance).*",
    r".*/(hicache|flush_cache|abort_request|pause_generation|continue_generation).*",
)
"""Operations that change the server for everybody, or read what other hosts must give."""


class KnownDefect(Accepted):
    """[fuzz] known: an answer that is wrong, and accepted for a while."""

    id: Filled = Field(description="What the report calls it.")
    operation: Pattern = Field(
        description="Method and path, as a regular expression of the whole: POST /v1/.*"
    )
    answer: Pattern = Field(
        "", description="A regular expression that is found in what the report says of the answer."
    )
    request: Pattern = Field(
        "",
        description="A regular expression found in the request's path, query or body; empty: any.",
    )
    withheld: Pattern = Field(
        "", description="Requests whose body it is found in are not sent at all: they are deadly."
    )
    versions: Annotated[str, AfterValidator(_versions)] = Field(
        "", description="SGLang's versions that have it, as a PEP 440 specifier; empty: all."
    )


class FuzzSettings(Section):
    """[fuzz]: how many requests are drawn, and which ones."""

    examples: Annotated[int, Field(ge=1, le=100_000), NoBool] = Field(
        25, description="Most valid requests of an operation, and as many invalid ones."
    )
    edges: Annotated[int, Field(ge=0, le=100_000), NoBool] = Field(
        1500, description="Most further ones of either kind, with one field at its edge or beyond."
    )
    seed: Annotated[int, Field(ge=0, lt=2**63), NoBool] = Field(
        1, description="Makes a run repeatable."
    )
    timeout: Budget = Field(30.0, description="Most seconds for one request.")
    drawing: Budget = Field(10.0, description="Most seconds for drawing those of one kind.")
    budget: Budget = Field(1800.0, description="Most seconds of the whole check.")
    output_tokens: Annotated[int, Field(ge=1, le=100_000), NoBool] = Field(
        8, description="Most tokens that a request may ask for; larger numbers become this one."
    )
    include: tuple[Pattern, ...] = Field(
        (".*",), description="Operations (POST /generate) that are asked, as regular expressions."
    )
    exclude: tuple[Pattern, ...] = Field(CHANGING, description="Those of them that are left out.")
    known: tuple[KnownDefect, ...] = Field(
        (), description="Accepted defects beside those that this version knows."
    )
    packaged: bool = Field(
        default=True, description="Accept the defects that are known of SGLang itself."
    )
