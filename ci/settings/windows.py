"""Windows of time in which an environment takes something new, as one line of text each."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Annotated, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator

from ci.settings.fields import Filled

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_FORM = re.compile(r"(\S+) (\d\d:\d\d)-(\d\d:\d\d)(?: (\S+))?", re.IGNORECASE)
_WEEK = len(DAYS)


@dataclass(frozen=True)
class Window:
    """Some hours of some days of the week, by the clocks of a time zone.

    Args:
        days: The days on which it begins; 0 is Monday.
        begin: When it begins.
        end: When it ends; on the next day where that isn't after `begin`.
        zone: Whose clocks.
    """

    days: frozenset[int]
    begin: time
    end: time
    zone: ZoneInfo

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `mon-fri 09:00-17:00 Europe/Berlin`; without a zone it is UTC.

        Raises:
            ValueError: It is none.
        """
        found = _FORM.fullmatch(text.strip())
        if found is None:
            raise ValueError(f"{text!r} isn't like 'mon-fri 09:00-17:00 Europe/Berlin'")
        days, begin, end, zone = found.groups()
        try:
            where = ZoneInfo(zone or "UTC")
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError(f"{zone!r} is no time zone that this system knows") from error
        return cls(_days(days.lower()), _time(begin), _time(end), where)

    def holds(self, at: datetime) -> bool:
        """Return whether it is open."""
        return any(begin <= at < end for begin, end in self._around(at.astimezone(UTC)))

    def opens(self, at: datetime) -> datetime:
        """Return when it opens next, after `at`, by its own clocks."""
        now = at.astimezone(UTC)
        return next(begin for begin, _ in self._around(now) if begin > now)

    def _around(self, at: datetime) -> Iterator[tuple[datetime, datetime]]:
        """Yield begin and end of each that may be open now, and of those of the next days."""
        today = at.astimezone(self.zone).date()
        for day in (today + timedelta(days=more) for more in range(-1, _WEEK + 1)):
            if day.weekday() in self.days:
                last = day if self.end > self.begin else day + timedelta(days=1)
                begin = datetime.combine(day, self.begin, self.zone)
                yield begin, datetime.combine(last, self.end, self.zone)


def _days(text: str) -> frozenset[int]:
    if text == "daily":
        return frozenset(range(_WEEK))
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        if first not in DAYS or (last or first) not in DAYS:
            raise ValueError(f"{text!r} aren't days like 'mon-fri', 'sat,sun' or 'daily'")
        begin, end = DAYS.index(first), DAYS.index(last or first)
        found |= {(begin + more) % _WEEK for more in range((end - begin) % _WEEK + 1)}
    return frozenset(found)


def _time(text: str) -> time:
    try:
        return time(0) if text == "24:00" else time.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is no time of a day") from error


def _window(text: str) -> str:
    Window.parse(text)
    return text


WindowText = Annotated[Filled, AfterValidator(_window)]
"""A window of time, as `Window.parse` reads it."""
