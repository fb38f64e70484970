"""The command that starts a server of another engine than SGLang."""

from __future__ import annotations

from ci.engines.profile import Profile, Start
from ci.errors import UsageError
from ci.settings.engine import EngineSettings


def command_of(engine: Profile, at: EngineSettings, start: Start) -> list[str]:
    """Return the settings' own command, or that of the engine's profile.

    Raises:
        UsageError: There is neither, or the engine lacks a model.
    """
    if at.command:
        known = {
            "model": str(start.model or ""),
            "host": start.host,
            "port": str(start.port),
            "name": start.served_name,
            "python": start.python,
        }
        return [_filled(text, known) for text in at.command]
    if engine.argv:
        return engine.argv(start)
    raise UsageError(f"engine.profile {engine.name!r} starts nothing: set engine.command")


def _filled(text: str, known: dict[str, str]) -> str:
    for name, value in known.items():
        text = text.replace(f"{{{name}}}", value)
    return text
