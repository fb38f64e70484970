"""The settings of the checks that hurt a server: what is done to it, and what it must show."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ci.settings.fields import Budget, NoBool, Section

ProbeName = Literal["health", "health_generate", "models", "request"]
"""/health, /health_generate, /v1/models, and a real request for one token."""
FaultName = Literal[
    "long prefill",
    "saturation",
    "disconnects",
    "scheduler stopped",
    "detokenizer stopped",
    "detokenizer stopped under traffic",
    "scheduler killed",
    "detokenizer killed",
]
ScenarioName = Literal["streams", "long streams", "hung scheduler"]
Amount = Annotated[int, Field(ge=1, le=4096), NoBool]


class HealthSettings(Section):
    """[health]: how truthful and how fast a server's probes must be."""

    in_ci: bool = Field(
        default=False, description="Whether `ci` asks too, by loads that hurt nobody: a minute."
    )
    probe: ProbeName = Field(
        "request", description="The probe that must tell the truth: the others are only shown."
    )
    timeout: Budget = Field(15.0, description="An answer that takes longer is an alarm.")
    patience: Budget = Field(
        25.0, description="Most seconds for which an answer is waited for, to see when it comes."
    )
    interval: Budget = Field(1.0, description="Least seconds between two probes of a kind.")
    detect: Budget = Field(30.0, description="Most seconds from a fault until the probe alarms.")
    recover: Budget = Field(
        15.0, description="Most seconds from a fault's end until the probe is content again."
    )
    exit: Budget = Field(
        15.0, description="Most seconds from a child's death until the whole server is gone."
    )
    faults: tuple[FaultName, ...] = Field((), description="The faults to cause; all where empty.")
    calm: Budget = Field(3.0, description="Seconds for which the unhurt server is watched first.")
    observe: Budget = Field(30.0, description="Most seconds for which a hurt server is watched.")
    load: Budget = Field(20.0, description="Least seconds for which a load is watched.")
    streams: Amount = Field(32, description="Streams that saturate it: more than it can run.")
    tokens: Amount = Field(64, description="Tokens of each of them.")
    prompts: Amount = Field(4, description="Long prompts that are sent at once.")
    prompt_tokens: Annotated[int, Field(ge=1, le=1_000_000), NoBool] = Field(
        2000, description="About how many tokens each of them has."
    )


class DrainSettings(Section):
    """[drain]: how a server must end while it has work."""

    grace: Budget = Field(
        30.0, description="Most seconds between SIGTERM and its end; then it would be killed."
    )
    scenarios: tuple[ScenarioName, ...] = Field(
        (), description="What it is doing when SIGTERM comes; all where empty."
    )
    streams: Amount = Field(12, description="Streams that are open when SIGTERM comes.")
    tokens: Amount = Field(128, description="Tokens of each of them.")
    long_tokens: Annotated[int, Field(ge=1, le=1_000_000), NoBool] = Field(
        6000, description="Tokens of streams that are to last longer than a drain."
    )
    interval: Budget = Field(0.25, description="Seconds between two new requests after SIGTERM.")
    settle: Budget = Field(
        0.5, description="Seconds after SIGTERM in which a new request may still be accepted."
    )
