"""Every setting: its type, its default, and what it means.

All of them are optional: the defaults prove the packaged tiny model on a CPU. Times are
seconds. A JSON schema for editors is made from these classes
(`sglang-ci config schema`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from packaging.version import InvalidVersion, Version
from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from ci import SGLANG
from ci.settings.bench import BenchSettings, GateSettings
from ci.settings.budgets import BudgetSettings
from ci.settings.contract import ContractSettings, UpgradeSettings
from ci.settings.engine import EngineSettings
from ci.settings.exposure import ExposureSettings
from ci.settings.fields import Budget, Filled, HostPath, NoBool, Section, Unset
from ci.settings.fuzz import FuzzSettings
from ci.settings.health import DrainSettings, HealthSettings
from ci.settings.observe import ObserveSettings
from ci.settings.release import (
    EnvironmentName,
    EnvironmentSettings,
    RegistrySettings,
    TrustSettings,
    VulnerabilitySettings,
    check_names,
)
from ci.settings.traffic import TrafficSettings

SGLANG_VERSION = "0.5.23"
"""The SGLang that is built and expected unless the settings name another."""

Port = Annotated[int, Field(ge=0, le=65_535), NoBool]


def _pep440(text: str) -> str:
    try:
        Version(text)
    except InvalidVersion:
        raise ValueError(
            f"{text!r} is not a PEP 440 version such as 0.5.23 or 2.11.0+cpu"
        ) from None
    return text


VersionText = Annotated[str, AfterValidator(_pep440)]


class ImageSettings(Section):
    """[image]: what is built."""

    sglang_version: VersionText = Field(
        SGLANG_VERSION, description="SGLang version to install, and to expect."
    )
    torch_index: str = Field(
        "", description="Another package index for torch, such as one with CPU builds."
    )


class ModelSettings(Section):
    """[model]: what is served. Nothing set: the packaged tiny model."""

    path: Annotated[Path | None, Unset, HostPath("any", "server", "--model")] = Field(
        None, description="A model folder; relative to this file."
    )
    name: str = Field(
        "", pattern=r"^$|^[\w.-]+/[\w.-]+$", description="A hub model, organisation/name."
    )
    revision: str = Field("", description="The hub model's pinned revision: a commit or tag.")
    served_name: str = Field("", description="The name that the server gives the model.")

    @model_validator(mode="after")
    def _one_model(self) -> Self:
        if self.path is not None and self.name:
            raise ValueError("give path or name, not both")
        if self.name and not self.revision:
            raise ValueError(f"name = {self.name!r} needs a pinned revision beside it")
        if self.revision and not self.name:
            raise ValueError("revision belongs to a hub model: give its name too")
        return self


class ServerSettings(Section):
    """[server]: how it is started."""

    host: str = Field("127.0.0.1", min_length=1, description="Address to listen on.")
    port: Port = Field(0, description="Port to listen on; 0 takes a free one from 30000 up.")
    device: Literal["auto", "cuda", "cpu"] = Field("auto", description="Where the model runs.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Above info, only the outer phases of start-up are known."
    )
    log_format: Literal["text", "json"] = Field(
        "text", description="json: one record a line, without prompts; docs/logs.md has the fields."
    )
    start_method: Literal["auto", "fork", "spawn"] = Field(
        "auto",
        description="fork: SGLang's processes begin as copies of the first, on a CPU alone; "
        "spawn: each as a new one. auto: fork on a CPU.",
    )
    flags: tuple[str, ...] = Field((), description="Further flags of SGLang's own.")
    environment: dict[str, str] = Field({}, description="Further environment variables.")
    stop_grace: Budget = Field(
        30.0, description="Most seconds between SIGTERM and SIGKILL when the server is stopped."
    )


class VersionSettings(Section):
    """[versions]: what must be there, beside [image] sglang_version."""

    expected: dict[str, VersionText] = Field(
        {}, description="Package (or python, cuda, driver) to exact PEP 440 version."
    )
    left_out: tuple[Filled, ...] = Field(
        (), description="Packages that SGLang demands, and that are left out on purpose."
    )


class ReadinessSettings(Section):
    """[readiness]: the budget of each phase of start-up, in seconds."""

    process_started: Budget = Field(20.0, description="Until launch.sh hands over to SGLang.")
    port_open: Budget = Field(600.0, description="Until the port accepts connections.")
    serving: Budget = Field(120.0, description="Until the server says that it serves.")
    first_token: Budget = Field(60.0, description="Until a real request has its first token.")
    prompt_tokens: tuple[Annotated[int, Field(ge=1, le=10_000_000), NoBool], ...] = Field(
        (),
        description="Lengths of prompts that are asked for once each before a server counts as "
        "ready; each has the budget of first_token.",
    )

    def whole(self) -> float:
        """Return the most seconds of a whole start."""
        tokens = self.first_token * (1 + len(self.prompt_tokens))
        return self.process_started + self.port_open + self.serving + tokens


class SmokeSettings(Section):
    """[smoke]: which cases run, and how long they may take."""

    directories: tuple[
        Annotated[Path, HostPath("folder", "server", "--smoke-cases", travels=True)], ...
    ] = Field((), description="Folders of further cases, ordinary pytest; relative to this file.")
    builtin: bool = Field(default=True, description="Run the packaged suite too.")
    select: str = Field("", description="A pytest -k expression that cases must match.")
    timeout: Budget = Field(30.0, description="Most seconds for one request.")
    budget: Budget = Field(600.0, description="Most seconds for the whole suite.")


class ReportSettings(Section):
    """[report]: where it goes."""

    directory: Annotated[Path, HostPath("folder", "output")] = Field(
        Path("report"), description="Folder of the report; made if missing."
    )


class Settings(Section):
    """All settings of a run."""

    image: ImageSettings = ImageSettings()
    model: ModelSettings = ModelSettings()
    server: ServerSettings = ServerSettings()
    engine: EngineSettings = EngineSettings()
    versions: VersionSettings = VersionSettings()
    readiness: ReadinessSettings = ReadinessSettings()
    smoke: SmokeSettings = SmokeSettings()
    bench: BenchSettings = BenchSettings()
    gate: GateSettings = GateSettings()
    budgets: BudgetSettings = BudgetSettings()
    health: HealthSettings = HealthSettings()
    drain: DrainSettings = DrainSettings()
    fuzz: FuzzSettings = FuzzSettings()
    exposure: ExposureSettings = ExposureSettings()
    traffic: TrafficSettings = TrafficSettings()
    contract: ContractSettings = ContractSettings()
    upgrade: UpgradeSettings = UpgradeSettings()
    observe: ObserveSettings = ObserveSettings()
    report: ReportSettings = ReportSettings()
    registry: RegistrySettings = RegistrySettings()
    trust: TrustSettings = TrustSettings()
    vulnerabilities: VulnerabilitySettings = VulnerabilitySettings()
    environments: dict[EnvironmentName, EnvironmentSettings] = Field(
        {}, description="[environments.NAME]: what a digest must have to be promoted there."
    )

    @field_validator("environments")
    @classmethod
    def _names_are_known(
        cls, value: dict[str, EnvironmentSettings], info: ValidationInfo
    ) -> dict[str, EnvironmentSettings]:
        if "trust" in info.data:
            check_names(value, info.data["trust"])
        return value

    def launch_flags(self) -> tuple[str, ...]:
        """Return the flags that every server of these settings gets, the user's own last."""
        name = self.model.served_name
        return (*(("--served-model-name", name) if name else ()), *self.server.flags)

    def expected_versions(self) -> dict[str, str]:
        """Return every expected version, SGLang's own among them where it is the engine."""
        own = {"sglang": self.image.sglang_version} if self.engine.profile == SGLANG else {}
        return own | self.versions.expected
