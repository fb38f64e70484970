"""Smoke cases as a stage of a run, as the settings want them."""

from __future__ import annotations

from ci.settings import Settings
from ci.smoke.run import SmokeOptions, run_smoke
from ci.stages import StageResult, Tell


async def smoke(url: str, settings: Settings, tell: Tell) -> StageResult:
    """Run the smoke suite, and the user's own cases, against the server at `url`."""
    at = settings.smoke
    options = SmokeOptions(
        directories=at.directories,
        select=at.select,
        timeout=at.timeout,
        budget=at.budget,
        builtin=at.builtin,
        engine=settings.engine.profile,
    )
    return await run_smoke(url, options, tell)
