"""The settings of a load, and of a comparison of two servers under one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from ci.settings.fields import Budget, HostPath, NoBool, Section, Unset

DEFAULT_CONCURRENCY = 8
"""Of the load that is sent where no load is named, and of the blocks of a comparison."""


def _digest(text: str) -> str:
    if text and "@sha256:" not in text:
        raise ValueError(f"{text!r} is no image by digest, such as registry/name@sha256:…")
    return text


def _told_apart(values: tuple[float, ...]) -> tuple[float, ...]:
    named = [f"{value:g}" for value in values]
    twice = next((name for name in named if named.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"{twice} is named twice, and two loads of one name can't be told apart")
    return values


def _two(values: tuple[str, ...]) -> tuple[str, ...]:
    if len(values) not in {0, 2}:
        raise ValueError(f"{len(values)} sets of cores, and there are two sides")
    return values


Cores = Annotated[str, Field(pattern=r"^\d{1,4}(-\d{1,4})?(,\d{1,4}(-\d{1,4})?)*$")]
Apart = AfterValidator(_told_apart)

Count = Annotated[int, Field(ge=1, le=1_000_000), NoBool]
Natural = Annotated[int, Field(ge=0, le=1_000_000), NoBool]
Rate = Annotated[float, Field(gt=0, le=100_000), NoBool]
Share = Annotated[float, Field(ge=0, le=1), NoBool]
Error = Annotated[float, Field(gt=0, lt=0.5), NoBool]
Effect = Annotated[float, Field(gt=0, le=10), NoBool]


class BenchSettings(Section):
    """[bench]: the load that `bench` sends, and how its warm-up ends."""

    in_ci: bool = Field(
        default=True, description="Whether `ci` sends it too, with wide tolerances."
    )
    tolerant: bool = Field(
        default=False, description="Believe figures of a busy machine, five times as rough."
    )
    api: Literal["generate", "chat"] = Field(
        "generate",
        description="What is asked: SGLang's /generate (of another engine its /v1/completions),"
        " or OpenAI's chat completions.",
    )
    model: str = Field("", description="The model's name for the chat API; empty: as served.")
    concurrency: Annotated[tuple[Count, ...], Apart] = Field(
        (), description="Closed loops: each keeps so many requests in flight; 8 if no load is set."
    )
    rate: Annotated[tuple[Rate, ...], Apart] = Field(
        (), description="Open loops, each of so many requests a second."
    )
    arrivals: Literal["poisson", "constant"] = Field(
        "poisson", description="When an open loop's requests start."
    )
    requests: Count = Field(128, description="Requests of each load.")
    seed: Natural = Field(0, description="Seed: the same one gives the same load.")
    input: str = Field("128", description="Tokens of a prompt: 256, 128-512, lognormal:256,0.6.")
    output: str = Field("32", description="Tokens of an answer, likewise.")
    prefix_share: Share = Field(0.0, description="Share of prompts with a common prefix.")
    prefix_tokens: Count = Field(64, description="Tokens of a common prefix.")
    prefix_groups: Count = Field(1, description="How many different common prefixes there are.")
    prompts: Annotated[
        Path | None, Unset, HostPath("file", "server", "--prompts", travels=True)
    ] = Field(
        None, description="A file of prompts instead, JSONL or ShareGPT; relative to this file."
    )
    output_tokens: Natural = Field(0, description="Tokens of an answer to it; 0: as it says.")
    repeat: bool = Field(default=False, description="Whether the file's prompts may be repeated.")
    slo_ttft: Budget | None = Field(None, description="Most seconds to the first token.")
    slo_tpot: Budget | None = Field(None, description="Most seconds a token after the first.")
    slo_e2e: Budget | None = Field(None, description="Most seconds to the last token.")
    ramp: bool = Field(default=False, description="Search the highest rate that meets the SLOs.")
    ramp_start: Rate = Field(1.0, description="First rate of that search, requests a second.")
    ramp_share: Annotated[float, Field(gt=0, le=1), NoBool] = Field(
        0.95, description="Share of requests that have to meet the SLOs."
    )
    ramp_seconds: Budget = Field(20.0, description="Seconds of each rate that is tried.")
    warm_up_requests: Natural = Field(512, description="Most requests of a warm-up; 0: none.")
    warm_up_seconds: Budget = Field(60.0, description="Most seconds of a warm-up.")
    warm_up_drift: Effect = Field(0.2, description="Largest drift that still counts as steady.")
    probe: Budget = Field(
        45.0, description="Most seconds until the first token of one request, sent before all."
    )
    limit: Budget = Field(600.0, description="Most seconds of one load.")
    poll: Annotated[float, Field(ge=0, le=3600), NoBool] = Field(
        5.0, description="Seconds between two looks at the server's gauges; 0: none."
    )


class GateSettings(Section):
    """[gate]: when a candidate is too slow, and how often that answer may be wrong."""

    baseline: Annotated[str, AfterValidator(_digest)] = Field(
        "", description="The image that candidates are compared with, by digest."
    )
    slowdown: Effect = Field(0.10, description="The slow-down that must not pass: 0.1 is 10 %.")
    least: Effect = Field(0.05, description="A slow-down that is smaller is let pass.")
    false_alarm: Error = Field(0.01, description="Highest chance of FAILED for an equal candidate.")
    power: Annotated[float, Field(gt=0.5, lt=1), NoBool] = Field(
        0.95, description="Chance with which such a slow-down must not pass."
    )
    metrics: tuple[Literal["ttft", "tpot", "e2e"], ...] = Field(
        ("ttft", "tpot", "e2e"), description="What is compared.", min_length=1
    )
    concurrency: Count = Field(DEFAULT_CONCURRENCY, description="Requests under way in a block.")
    requests: Count = Field(32, description="Requests of a block.")
    pairs: Annotated[int, Field(ge=1, le=200), NoBool] = Field(
        24, description="Pairs of blocks of one run."
    )
    interim: bool = Field(default=True, description="Whether a run may end early.")
    repeat: bool = Field(
        default=True,
        description="Whether an inconclusive run is repeated: with as many pairs again, or, where"
        " settings files start both sides, in rounds.",
    )
    rounds: Annotated[int, Field(ge=1, le=32), NoBool] = Field(
        8,
        description="Most starts of both sides, each with half as many pairs; below 3 nothing is"
        " started anew.",
    )
    start_effect: Annotated[float, Field(ge=0, le=1), NoBool] | None = Field(
        None,
        description="Standard deviation of what a start adds to a server's times: 0.02 is 2 %."
        " Unset: what `compare FILE --self-test` kept for this runner, or else 2 %.",
    )
    starts_file: Annotated[Path, HostPath("file", "output")] = Field(
        Path("starts.json"), description="Where that is kept, by the runner's name."
    )
    twins: Annotated[int, Field(ge=3, le=100), NoBool] = Field(
        8, description="Starts of one image twice over by which --self-test measures it."
    )
    cores: Annotated[tuple[Cores, ...], AfterValidator(_two)] = Field(
        (),
        description="CPU cores of either side that is started here, such as 0-3 and 4-7; the sides"
        " swap them with each start. Empty: all, for both.",
    )
    seed: Natural | None = Field(None, description="Seed of prompts and order; unset: a new one.")
    budget: Budget = Field(3600.0, description="Most seconds of a comparison.")
    others: Share = Field(
        0.1,
        description="Share of the cores that other work may take during a block, where few are"
        " idle; beyond it a pair is measured anew. 1: any.",
    )
    wait: Annotated[float, Field(ge=0, le=86_400), NoBool] = Field(
        120.0, description="Most seconds that a comparison waits for other work to end."
    )
    identical: Share | None = Field(
        None, description="Least share of identical answers; unset: shown and not judged."
    )
    servers: Literal["together", "boots", "gpus"] = Field(
        "together",
        description="Both up at once, a boot for each block, or each on a GPU of its own.",
    )
