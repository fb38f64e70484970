"""All alerts: what hurts users, when it counts, and what to do then."""

from __future__ import annotations

from ci.monitoring import alerts_scraping, alerts_servers, alerts_service
from ci.monitoring.alert import Alert
from ci.settings import Settings


def alerts(settings: Settings) -> tuple[Alert, ...]:
    """Return all alerts of the settings."""
    rooms = (alerts_servers, alerts_service, alerts_scraping)
    return tuple(alert for room in rooms for alert in room.alerts(settings))
