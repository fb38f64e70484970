"""Past reports as a history: what is drawn, what counts, and where it changed."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ci.report.model import Case, Check, Figure, Report
from ci.report.write import ReportFolder
from ci.trend import changes
from ci.trend.history import Line, Point, read
from ci.verdict import Outcome
from tests.readme import readme
from tests.unit.commands import Command

pytestmark = pytest.mark.unit

START = datetime(2026, 11, 1, 3, 0, tzinfo=UTC)


def report(
    night: int, value: float, outcome: Outcome = Outcome.PASSED, name: str = "TTFT"
) -> Report:
    """Return the report of a night."""
    at = START + timedelta(days=night)
    figure = Figure(name=name, value=value, unit="s", better="lower")
    case = Case(name="x", outcome=outcome)
    check = Check(name="bench", started=at, seconds=1, cases=(case,), figures=(figure,))
    return Report(started=at, finished=at, checks=(check,))


def keep(folder: Path, *reports: Report) -> Path:
    """Write each report into a folder of its own; the newest first in order of names."""
    for number, one in enumerate(reports):
        opened = ReportFolder.open(folder / f"{len(reports) - number:03}")
        with opened as place:
            place.write(one)
    return folder


def line(values: list[float]) -> Line:
    """Return a series of one value a night."""
    points = (
        Point(START + timedelta(days=at), value, believed=True) for at, value in enumerate(values)
    )
    return Line("bench", "TTFT", "s", "lower", tuple(points))


def noise(seed: int, count: int) -> list[float]:
    """Return values around 1 that differ by 2 %."""
    dice = random.Random(seed)  # noqa: S311
    return [dice.gauss(1, 0.02) for _ in range(count)]


def test_reports_are_laid_out_by_time(tmp_path: Path) -> None:
    """Nights are drawn in the order of their folders' names."""
    history = read([keep(tmp_path, report(0, 1), report(1, 2), report(2, 3))])
    (found,) = history.lines
    assert (history.reports, [point.value for point in found.points]) == (3, [1, 2, 3])


def test_a_report_named_twice_counts_once(tmp_path: Path) -> None:
    """A folder and a report in it make two nights of one."""
    folder = keep(tmp_path, report(0, 1))
    assert read([folder, folder / "001", folder / "001" / "report.json"]).reports == 1


def test_doubtful_figures_are_drawn_and_dont_count(tmp_path: Path) -> None:
    """A bench that says of itself that it can't be believed moves a change point."""
    (found,) = read([keep(tmp_path, report(0, 1), report(1, 9, Outcome.INCONCLUSIVE))]).lines
    assert [point.value for point in found.points] == [1, 9]
    assert [point.value for point in found.believed] == [1]


def test_a_step_is_found_at_its_report() -> None:
    """A slow-down of a fifth goes unseen, or is blamed on another night."""
    slower = [1.2 * value for value in noise(51, 15)]
    (change,) = changes.changes(line([*noise(1, 20), *slower]))
    assert change.index == 20
    assert change.share == pytest.approx(0.2, abs=0.03)
    assert change.worse(line([1.0]))


def test_noise_alone_is_no_change() -> None:
    """Each page names changes that nobody made."""
    assert not [found for seed in range(20) for found in changes.changes(line(noise(seed, 40)))]


def test_the_page_draws_and_names_the_change(command: Command, tmp_path: Path) -> None:
    """The page is empty, runs a name as markup, or leaves out what can't be read unsaid."""
    name = "<script>alert(1)</script>"
    values = [*noise(1, 12), *(1.5 * value for value in noise(2, 12))]
    folder = keep(
        tmp_path / "nightly", *(report(night, at, name=name) for night, at in enumerate(values))
    )
    (folder / "broken").mkdir()
    (folder / "broken" / "report.json").write_text("{")
    assert command(*readme("sglang-ci trend")[1:], "--out", "page.html") == 0
    page = Path("page.html").read_text()
    assert page.count("<svg") == 1
    assert "<script" not in page
    assert "changed 2026-11-13" in page
    assert "worse" in page
    assert "broken" in page


def test_without_otava_the_page_comes_all_the_same(
    command: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Without the extra there is no history at all, or nobody says what is missing."""
    monkeypatch.setattr(changes, "available", lambda: False)
    assert command("trend", str(keep(tmp_path / "kept", report(0, 1)))) == 0
    assert "sglang-ci[trend]" in capsys.readouterr().out
    assert "sglang-ci[trend]" in Path("trend.html").read_text()


def test_no_report_is_a_usage_error(command: Command, tmp_path: Path) -> None:
    """An empty folder gives an empty page."""
    assert command("trend", str(tmp_path)) == 2
