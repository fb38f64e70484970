"""What `sglang-ci.toml`, the environment and flags may say: frozen and validated."""

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

__all__ = [
    "Effective",
    "ImageSettings",
    "ModelSettings",
    "ReadinessSettings",
    "ReportSettings",
    "ServerSettings",
    "Settings",
    "SmokeSettings",
    "VersionSettings",
    "load",
]
