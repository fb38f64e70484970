"""The commands `health` and `drain`: what can't be done as asked is said before anything is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from ci.commands import health as commands
from ci.errors import UsageError
from ci.health.drain import SCENARIOS
from ci.health.experiments import FAULTS
from ci.health.probes import KINDS
from ci.settings.health import DrainSettings, HealthSettings

pytestmark = pytest.mark.unit

URL = "http://127.0.0.1:9"
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("ask", "problem"),
    [
        (lambda: commands.drain(URL), "--pid"),
        (lambda: commands.drain(pid=1), "belong to a URL"),
        (lambda: commands.health(agent=URL), "belong to a URL"),
        (lambda: commands.health(URL, pid=1, agent=URL), "not both"),
        (lambda: commands.health("nonsense"), "http://"),
    ],
    ids=["drain by URL", "pid alone", "agent alone", "pid and agent", "no URL"],
)
def test_usage(ask, problem: str) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    """A stranger's server is ended, or a wrong call reads as a bad server."""
    with pytest.raises(UsageError, match=problem):
        ask()


def test_settings_know_what_the_checks_know() -> None:
    """A fault, scenario or probe can't be chosen, or a name that nobody knows can."""
    assert HealthSettings.model_validate({"faults": FAULTS}).faults == FAULTS
    assert DrainSettings.model_validate({"scenarios": SCENARIOS}).scenarios == SCENARIOS
    assert [HealthSettings.model_validate({"probe": kind}).probe for kind in KINDS] == list(KINDS)
    for name, kind in (("faults", HealthSettings), ("scenarios", DrainSettings)):
        with pytest.raises(ValidationError):
            kind.model_validate({name: ("unheard of",)})


@pytest.mark.parametrize(("page", "names"), [("health", FAULTS), ("drain", SCENARIOS)])
def test_page_tells_all(page: str, names: tuple[str, ...]) -> None:
    """A user reads of other faults than are brought about."""
    text = (ROOT / "docs" / f"{page}.md").read_text()
    rows = re.findall(r"(?m)^\| ([a-z ]+) \|", text)
    assert set(names) <= set(rows)
