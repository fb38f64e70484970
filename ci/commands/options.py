"""Options that several subcommands share, and the settings that they make."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ci.errors import SettingsError, UsageError
from ci.server.key import BASELINE_API_KEY
from ci.server.reach import base_url
from ci.settings import Effective, Settings, load
from ci.settings.load import read

if TYPE_CHECKING:
    from ci.gate.sides import GateSide

ConfigFile = Annotated[
    Path | None, typer.Option("--config", help="Configuration file. [default: ./sglang-ci.toml]")
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Set one setting, such as server.port=30001."),
]
ReportDir = Annotated[
    Path | None, typer.Option(help="Folder of the report. [default: report.directory]")
]


def effective(
    config: Path | None, assignments: list[str] | None, overrides: Mapping[str, str]
) -> Effective:
    """Return the settings in force.

    Args:
        config: The configuration file, where one is named.
        assignments: Texts KEY=VALUE of `--set`.
        overrides: Dotted key to text, from options of their own.

    Raises:
        SettingsError: A key or value that isn't allowed.
    """
    return load(config, os.environ, pairs("--set", "KEY=VALUE", assignments) | dict(overrides))


def lenient(
    config: Path | None, assignments: list[str] | None, overrides: Mapping[str, str]
) -> tuple[Effective, tuple[SettingsError, ...]]:
    """Return the same, made of the settings that are right, and all that is wrong."""
    return read(config, os.environ, pairs("--set", "KEY=VALUE", assignments) | dict(overrides))


def pairs(option: str, form: str, texts: Sequence[str] | None) -> dict[str, str]:
    """Return what an option of the form NAME=VALUE says, which may be repeated.

    Raises:
        UsageError: A text has no `=`.
    """
    found = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"{option} {text}: not {form}")
        found[name] = value
    return found


def listed(key: str, values: Sequence[str | Path | float] | None) -> dict[str, str]:
    """Return the override that gives a list to the setting `key`; none where it is empty."""
    texts = [str(value) if isinstance(value, Path) else value for value in values or ()]
    return {key: json.dumps(texts, ensure_ascii=False)} if texts else {}


def side(name: str, text: str, image: str = "") -> GateSide:
    """Return the side of a comparison that `text` names: a URL, or a settings file.

    Args:
        name: What the side is called.
        text: A server's URL, or a file by which one is started on this host.
        image: The image that it runs, where that is known.

    Raises:
        UsageError: It is neither.
    """
    from ci.gate.blocks import Arm
    from ci.gate.sides import GateSide

    if Path(text).suffix == ".toml":
        return GateSide(name, image=image, settings=load(Path(text), os.environ).settings)
    key = os.environ.get(BASELINE_API_KEY) if name == Arm.BASELINE else None
    return GateSide(name, base_url(text), image, key=key)


def beside(one: GateSide, agent: str, settings: Settings) -> GateSide:
    """Return a side that the agent at a URL starts anew; as it is where there is none.

    Raises:
        UsageError: It has no URL of its own: what is started here needs no agent.
    """
    if not agent:
        return one
    if not one.url:
        raise UsageError(f"an agent for the {one.name}, which is started here: give its URL")
    return replace(one, agent=base_url(agent), settings=settings)
