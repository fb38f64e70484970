"""Whether an environment takes something new at the moment: windows, freezes, a roll-back's hold.

What goes back is never kept from it: a roll-back and an abort pass whatever stands here.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ci.settings.windows import Window

if TYPE_CHECKING:
    from ci.release.history import HistoryLine
    from ci.settings import EnvironmentSettings

RESUME = "--resume-after-rollback"


def closed(environment: str, settings: EnvironmentSettings, now: datetime) -> str:
    """Return why an environment takes nothing new now, and how to go on; empty where it does.

    Args:
        environment: Its name.
        settings: What it demands.
        now: The time, UTC.
    """
    key = f"environments.{environment}"
    if settings.frozen:
        return (
            f"{environment} is frozen: {settings.frozen}; a roll-back and an abort pass; go on by "
            f"taking {key}.frozen out of the settings, or for once by --set {key}.frozen="
        )
    windows = [Window.parse(text) for text in settings.windows]
    if not windows or any(window.holds(now) for window in windows):
        return ""
    at = min(window.opens(now) for window in windows)
    return (
        f"{environment} takes something new in its windows alone ({'; '.join(settings.windows)}), "
        f"and the next one opens on {at:%a %Y-%m-%d %H:%M} {at.tzinfo} "
        f"({at.astimezone(UTC):%H:%M} UTC); a roll-back and an abort pass; go on then, or for once "
        f"by --set '{key}.windows=[]'"
    )


def on_hold(environment: str, newest: HistoryLine | None, resumed: str) -> str:
    """Return why a promotion has to wait for a person after a roll-back; empty where it hasn't.

    Args:
        environment: Where to.
        newest: The environment's newest promotion.
        resumed: What somebody says why it may go on; empty where nobody said anything.
    """
    if newest is None or not newest.rollback or resumed:
        return ""
    return (
        f"{environment} was rolled back on {newest.created:%Y-%m-%d %H:%M} UTC by "
        f"{newest.actor or 'somebody unknown'}, and takes nothing new until somebody says so: "
        f'promote it with {RESUME} "why", which stands in its history'
    )
