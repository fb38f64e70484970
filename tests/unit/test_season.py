"""When an environment takes something new: windows, freezes, and the hold after a roll-back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from ci.errors import EnvironmentClosed
from ci.release import promotion
from ci.release.chronicle import Chronicle
from ci.release.history import HistoryLine
from ci.release.promotion import carry_out, plan
from ci.release.season import closed
from ci.settings import EnvironmentSettings
from ci.settings.windows import Window
from tests.unit.releases import NOW, WHERE, Release, released, settings, signer, there

pytestmark = pytest.mark.unit

OFFICE = "mon-fri 09:00-17:00 Europe/Berlin"
LATER = NOW + timedelta(hours=1)


def at(text: str) -> datetime:
    """Return a time of UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("window", "time", "holds"),
    [
        (OFFICE, "2026-11-30 08:00", True),
        (OFFICE, "2026-11-30 07:59", False),
        (OFFICE, "2026-11-30 15:59", True),
        (OFFICE, "2026-11-30 16:00", False),
        (OFFICE, "2026-07-06 07:00", True),
        (OFFICE, "2026-11-29 12:00", False),
        ("sat,sun 10:00-12:00", "2026-11-29 10:00", True),
        ("fri-mon 10:00-12:00", "2026-12-01 10:00", False),
        ("fri-mon 10:00-12:00", "2026-11-30 10:00", True),
        ("fri 22:00-02:00", "2026-12-05 01:59", True),
        ("fri 22:00-02:00", "2026-12-04 01:59", False),
        ("daily 20:00-24:00 UTC", "2026-12-04 23:59", True),
        ("Mon 00:00-00:00", "2026-11-30 23:59", True),
    ],
)
def test_a_window_is_open_by_its_own_clocks(window: str, time: str, *, holds: bool) -> None:
    """A window is an hour early in summer, or a night's window ends at midnight."""
    assert Window.parse(window).holds(at(time)) is holds


@pytest.mark.parametrize(
    ("window", "time", "opens"),
    [
        (OFFICE, "2026-11-27 17:00", "2026-11-30 08:00"),
        (OFFICE, "2026-11-30 07:59", "2026-11-30 08:00"),
        (OFFICE, "2026-11-30 08:00", "2026-12-01 08:00"),
        ("sun 01:00-05:00 Europe/Berlin", "2026-10-24 12:00", "2026-10-24 23:00"),
        ("mon 10:00-11:00", "2026-11-30 10:00", "2026-12-07 10:00"),
    ],
)
def test_it_is_known_when_the_next_one_opens(window: str, time: str, opens: str) -> None:
    """Somebody is told to come back at a time at which nothing opens."""
    assert Window.parse(window).opens(at(time)) == at(opens)


@pytest.mark.parametrize(
    "wrong",
    ["always", "mon 9-17", "mon-fry 09:00-17:00", "mon 09:00-25:00", "mon 09:00-17:00 Mars/Base"],
)
def test_a_window_that_is_none_is_refused(wrong: str) -> None:
    """A misspelt window lets everything in, or nothing."""
    with pytest.raises(ValidationError, match=wrong.partition(" ")[0].partition("-")[0]):
        EnvironmentSettings(windows=(wrong,))


def test_what_is_closed_says_when_it_opens_and_how_to_go_on() -> None:
    """A refused job leaves somebody searching for the settings."""
    made = EnvironmentSettings(windows=(OFFICE, "sun 20:00-21:00"))
    assert closed("prod", made, at("2026-11-30 09:00")) == ""
    why = closed("prod", made, at("2026-11-29 12:00"))
    assert "the next one opens on Sun 2026-11-29 20:00 UTC (20:00 UTC)" in why
    assert "--set 'environments.prod.windows=[]'" in why
    why = closed("prod", made, at("2026-11-29 20:30").replace(hour=21))
    assert "the next one opens on Mon 2026-11-30 09:00 Europe/Berlin (08:00 UTC)" in why
    why = closed("prod", EnvironmentSettings(frozen="incident 12"), NOW)
    assert why.startswith("prod is frozen: incident 12; ")
    assert "--set environments.prod.frozen=" in why


@pytest.fixture
def release() -> Iterator[Release]:
    """Yield an image that was never promoted."""
    with released() as made:
        yield made


def resumed(release: Release, why: str) -> HistoryLine:
    """Promote a release to production although it was rolled back."""
    made = plan(release.reader(), release.image, resumed=why)
    return carry_out(made, signer("ci"), WHERE, LATER)


def test_after_a_roll_back_nothing_new_goes_in_until_somebody_says_so(release: Release) -> None:
    """A nightly job promotes again what was rolled back in the evening."""
    release.promote()
    other = release.other("second")
    other.promote()
    release.promote(rollback=True, now=LATER)
    assert there(release) == release.image.descriptor.digest
    for one in (other, release.other("third")):
        with pytest.raises(EnvironmentClosed, match="--resume-after-rollback") as caught:
            one.promote(now=LATER)
        assert "was rolled back on 2026-11-22 13:00 UTC by ci-bot" in str(caught.value)
    assert release.promote(now=LATER).rollback
    assert resumed(other, "the driver is fixed").resumed == "the driver is fixed"
    release.other("third").promote(now=LATER)
    assert resumed(release.other("fourth"), "needless").resumed == ""
    told = "\n".join(Chronicle.of(release.reader()).texts())
    assert told.count(", after a roll-back: the driver is fixed") == 1


@pytest.mark.parametrize("how", [{"frozen": "incident 12"}, {"windows": [OFFICE]}])
def test_what_is_closed_lets_back_and_lets_end(release: Release, how: dict[str, object]) -> None:
    """A freeze keeps a bad release in production, or a promotion half-way."""
    other = release.other("second")
    release.promote()
    other.promote()
    shut = settings(prod=how)
    with pytest.raises(EnvironmentClosed, match=r"frozen|2026-11-23 09:00 Europe/Berlin"):
        replace(release.other("third"), settings=shut).promote()
    del release.fake.tags["prod"]
    unfinished = replace(other, settings=shut)
    assert plan(unfinished.reader(), other.image).state is promotion.PromotionState.UNFINISHED
    unfinished.promote()
    replace(release, settings=shut).promote(rollback=True)
    assert there(release) == release.image.descriptor.digest
