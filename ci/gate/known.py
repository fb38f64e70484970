"""The effect of a start as `--self-test` measured it: kept in a file, by the runner's name.

What a start adds hangs on the machine, the model and the load, so a record is found by all of
them. A new one takes the place of the old one of the same name.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ci.boot.device import device
from ci.errors import UsageError
from ci.gate.starts import StartEffect, assumed
from ci.report.model import now
from ci.secrets import files
from ci.settings import GateSettings
from ci.settings.model import ModelSettings

RUNNERS = ("RUNNER_NAME", "CI_RUNNER_DESCRIPTION", "NODE_NAME")
"""Variables by which GitHub, GitLab and Jenkins name a runner."""


class StartPlace(BaseModel):
    """Where and under what load a start's effect was measured."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    runner: str
    device: str
    model: str = Field(description="The model's name; empty for the packaged one.")
    servers: str = Field(description="As [gate] servers says.")
    cores: tuple[str, ...] = Field(description="As [gate] cores says.")
    concurrency: int
    requests: int


class StartRecord(BaseModel):
    """One measurement of a start's effect."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    place: StartPlace
    spread: dict[str, float] = Field(description="Standard deviation as a logarithm, by metric.")
    freedom: float = Field(gt=0, description="Twins behind it.")
    measured: datetime


class StartRecords(BaseModel):
    """The whole file."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    version: Literal[1] = 1
    records: tuple[StartRecord, ...] = ()


def place_of(
    gate: GateSettings, model: ModelSettings, environment: Mapping[str, str] = os.environ
) -> StartPlace:
    """Return where a comparison by these settings runs."""
    runner = next((environment[name] for name in RUNNERS if environment.get(name)), "")
    return StartPlace(
        runner=runner or platform.node(),
        device=device(),
        model=model.name or (model.path.name if model.path else ""),
        servers=gate.servers,
        cores=gate.cores,
        concurrency=gate.concurrency,
        requests=gate.requests,
    )


def read(path: Path) -> StartRecords:
    """Return what a file holds; nothing where there is none.

    Raises:
        UsageError: It holds something else.
    """
    try:
        return StartRecords.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return StartRecords()
    except (OSError, ValidationError) as error:
        why = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
        raise UsageError(f"gate.starts_file: {path}: not what --self-test keeps: {why}") from error


def keep(path: Path, place: StartPlace, effect: StartEffect) -> None:
    """Keep a measurement in a file, in the place of an earlier one of the same name.

    Raises:
        UsageError: The file holds something else, or can't be written.
    """
    others = tuple(one for one in read(path).records if one.place != place)
    spread = {metric: round(size, 5) for metric, size in effect.spread.items()}
    new = StartRecord(place=place, spread=spread, freedom=effect.freedom, measured=now())
    text = StartRecords(records=(*others, new)).model_dump_json(indent=1)
    try:
        files.write(path, f"{text}\n")
    except OSError as error:
        raise UsageError(f"gate.starts_file: {path}: {error}") from error


def effect_of(gate: GateSettings, model: ModelSettings) -> StartEffect:
    """Return what is known of a start: by the settings, by a record, or else what is assumed.

    Raises:
        UsageError: The file of records holds something else.
    """
    if gate.start_effect is not None:
        return assumed(gate.metrics, gate.start_effect)
    place = place_of(gate, model)
    for one in read(gate.starts_file).records:
        if one.place == place and set(gate.metrics) <= set(one.spread):
            told = f"measured here by {one.freedom:g} twins on {one.measured:%Y-%m-%d}"
            return StartEffect(one.spread, one.freedom, told)
    return assumed(gate.metrics)
