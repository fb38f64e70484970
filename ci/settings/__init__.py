"""What `sglang-ci.toml`, the environment and flags may say: frozen and validated."""

from ci.settings.bench import BenchSettings, GateSettings
from ci.settings.load import Effective, load
from ci.settings.model import (
    ImageSettings,
    ModelSettings,
    ReadinessSettings,
    ReportSettings,
    ServerSettings,
    Settings,
    SmokeSettings,
    VersionSettings,
)
from ci.settings.release import (
    AllowedVulnerability,
    EnvironmentSettings,
    IdentitySettings,
    RegistrySettings,
    TrustSettings,
    VulnerabilitySettings,
)

__all__ = [
    "AllowedVulnerability",
    "BenchSettings",
    "Effective",
    "EnvironmentSettings",
    "GateSettings",
    "IdentitySettings",
    "ImageSettings",
    "ModelSettings",
    "ReadinessSettings",
    "RegistrySettings",
    "ReportSettings",
    "ServerSettings",
    "Settings",
    "SmokeSettings",
    "TrustSettings",
    "VersionSettings",
    "VulnerabilitySettings",
    "load",
]
