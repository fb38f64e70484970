"""What is proven, for the head of the report: the version, the model, the device, the flags."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from subprocess import DEVNULL
from typing import Any

import anyio

from ci.errors import AnswerFault, SglangCiError
from ci.graph.seen import Seen
from ci.release.where import Where
from ci.settings import ModelSettings

_COMMIT = re.compile(r"\+(?:\w+\.)*g([0-9a-f]{7,40})|\.dev\d*\+g?([0-9a-f]{7,40})")


async def project(environ: Mapping[str, str]) -> str:
    """Return the commit of the project in this folder, as its CI or git tells it; or nothing."""
    if commit := Where.of(environ).commit:
        return commit
    try:
        argv = ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"]
        done = await anyio.run_process(argv, stdin=DEVNULL, check=False)
    except OSError:
        return ""
    return done.stdout.decode("utf-8", "replace").strip() if done.returncode == 0 else ""


async def subject(seen: Seen) -> dict[str, str]:
    """Return what a server that is ready says of itself, as facts of the report.

    What can't be learnt is left out: a fact that isn't known is none.
    """
    if seen.asked.engine.native:
        found = await _sglang(seen)
    else:
        found = await _other(seen)
    told = {"model": model_of(seen.settings.model)} | found | dict(seen.facts)
    return {name: text for name, text in told.items() if text}


async def _sglang(seen: Seen) -> dict[str, str]:
    try:
        async with seen.asked.engine.client(seen.url) as client:
            info = await client.server_info()
    except SglangCiError:
        return {}
    version = str(info.get("version", ""))
    return {
        "SGLang": version,
        "SGLang commit": commit_of(version),
        "model": _model(seen.settings.model, info),
        "device": _device(info),
        "launch flags": _flags(seen, info),
    }


async def _other(seen: Seen) -> dict[str, str]:
    engine = seen.asked.engine
    try:
        async with engine.client(seen.url) as client:
            found = await engine.describe(client)
    except AnswerFault:
        return {}
    return {engine.title: found.version or "version not told", "model": ", ".join(found.names)}


def commit_of(version: str) -> str:
    """Return the commit in the local part of a version such as 0.5.24.dev3+g1a2b3c4d5; or none."""
    found = _COMMIT.search(version)
    return next((group for group in found.groups() if group), "") if found else ""


def model_of(settings: ModelSettings) -> str:
    """Return what the settings call the model, with its revision."""
    if settings.name:
        return f"{settings.name}@{settings.revision}"
    return str(settings.path) if settings.path else ""


def _model(settings: ModelSettings, info: dict[str, Any]) -> str:
    """Return the model as the settings name it, else its path and revision as served."""
    if named := model_of(settings):
        return named
    revision = f"@{info['revision']}" if info.get("revision") else ""
    return f"{info.get('model_path') or ''}{revision}"


def _device(info: dict[str, Any]) -> str:
    """Return the kind of device that the server names, and over how many it is spread."""
    sizes = (int(info.get(name) or 1) for name in ("tp_size", "pp_size", "dp_size"))
    count = 1
    for size in sizes:
        count *= size
    device = str(info.get("device") or "")
    return f"{count} x {device}" if device and count > 1 else device


def _flags(seen: Seen, info: dict[str, Any]) -> str:
    """Return the server's launch command, where it tells one, else the settings' flags."""
    told = info.get("launch_command")
    if isinstance(told, str) and told:
        return told
    if isinstance(told, list):
        return shlex.join(map(str, told))
    return shlex.join(seen.settings.launch_flags())
