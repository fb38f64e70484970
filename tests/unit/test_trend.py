"""Past reports as a history: what is drawn, what counts, and where it changed."""

from __future__ import annotations

import html
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ci.extras import install
from ci.report.model import Case, Check, Figure, Report
from ci.report.write import ReportFolder
from ci.trend import changes, page
from ci.trend.history import Point, TrendLine, read
from ci.verdict import Outcome
from tests.readme import readme
from tests.unit.commands import Command

pytestmark = pytest.mark.unit

START = datetime(2026, 11, 1, 3, 0, tzinfo=UTC)


def measured(night: int, names: str, value: float = 1, check: str = "bench") -> Check:
    """Return a check that PASSED, and measured the figures of these names."""
    figures = tuple(Figure(name=name, value=value, unit="s") for name in names.split())
    case = Case(name="x", outcome=Outcome.PASSED)
    at = START + timedelta(days=night)
    return Check(name=check, started=at, seconds=1, cases=(case,), figures=figures)


def of(night: int, *checks: Check) -> Report:
    """Return the report of a night that holds these checks."""
    at = START + timedelta(days=night)
    return Report(started=at, finished=at, checks=checks)


def report(
    night: int, value: float, outcome: Outcome = Outcome.PASSED, name: str = "TTFT"
) -> Report:
    """Return the report of a night."""
    figure = Figure(name=name, value=value, unit="s", better="lower")
    case = Case(name="x", outcome=outcome)
    made = measured(night, "").model_copy(update={"cases": (case,), "figures": (figure,)})
    return of(night, made)


def keep(folder: Path, *reports: Report) -> Path:
    """Write each report into a folder of its own; the newest first in order of names."""
    for number, one in enumerate(reports):
        opened = ReportFolder.open(folder / f"{len(reports) - number:03}")
        with opened as place:
            place.write(one)
    return folder


def line(values: list[float]) -> TrendLine:
    """Return a series of one value a night."""
    points = (
        Point(START + timedelta(days=at), value, believed=True) for at, value in enumerate(values)
    )
    return TrendLine("bench", "TTFT", "s", "lower", tuple(points))


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


def test_an_interrupted_run_doesnt_count(tmp_path: Path) -> None:
    """What half a run measured moves a change point."""
    cut = report(1, 9).model_copy(update={"interrupted": "SIGTERM"})
    (found,) = read([keep(tmp_path, report(0, 1), cut)]).lines
    assert [point.believed for point in found.points] == [True, False]


def test_reports_without_a_common_figure_are_lines_of_one_point(tmp_path: Path) -> None:
    """Figures of two names are laid into one series, or such reports can't be drawn."""
    found = read([keep(tmp_path, of(0, measured(0, "TTFT")), of(1, measured(1, "TPOT")))]).lines
    assert [(one.name, len(one.points)) for one in found] == [("TTFT", 1), ("TPOT", 1)]
    assert all(page.told(one, ()).before == "" for one in found)


def test_a_check_stands_once_on_the_page(tmp_path: Path) -> None:
    """A figure that is newer than the others tears its check in two."""
    first = of(0, measured(0, "a"), measured(0, "b", check="size"))
    second = of(1, measured(1, "a c"), measured(1, "b", check="size"))
    history = read([keep(tmp_path, first, second)])
    assert [one.name for one in history.lines] == ["a", "c", "b"]
    drawn = [page.told(one, ()) for one in history.lines]
    assert page.render(history, drawn, marked=True).count("<h2") == 2


def test_a_name_that_comes_twice_is_two_series(tmp_path: Path) -> None:
    """Two loads of one name are drawn as two nights."""
    found = read([keep(tmp_path, *(of(night, measured(night, "a a")) for night in range(3)))]).lines
    assert [(one.name, len(one.points)) for one in found] == [("a", 3), ("a (2)", 3)]


def test_bytes_are_drawn_in_megabytes() -> None:
    """The labels of an image's size are wider than the margin that holds them."""
    points = tuple(Point(START + timedelta(days=at), 9.6e9, believed=True) for at in range(3))
    plot = page.told(TrendLine("size", "image", "bytes", "lower", points), ()).plot
    assert plot.plot.y == "MB"
    assert max(len(label) for _, label in plot.y_ticks) <= 8


def test_nights_that_dont_count_are_single_points() -> None:
    """A line joins doubtful nights over those that passed, whatever the figure's name."""
    points = tuple(Point(START + timedelta(days=at), at, believed=at % 2 == 0) for at in range(6))
    for name in ("TTFT", "not believed"):
        lines = page.told(TrendLine("bench", name, "s", "lower", points), ()).plot.lines
        assert len(lines) == 2
        assert (lines[1].path, len(lines[1].points)) == ("", 3)


@pytest.mark.parametrize(
    ("before", "after", "share"), [(5.0, 6.0, 0.2), (5.0, 0.0, -1.0), (0.0, 5.0, None)], ids=str
)
def test_sizes_without_noise_have_changes(before: float, after: float, share: float) -> None:
    """A figure that is the same every night divides by its spread of 0."""
    assert changes.changes(line([before] * 20)) == ()
    (change,) = changes.changes(line([before] * 10 + [after] * 10))
    assert (change.index, change.share) == (10, share and pytest.approx(share))


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
    text = Path("page.html").read_text()
    assert text.count("<svg") == 1
    assert "<script" not in text
    assert "changed 2026-11-13" in text
    assert "worse" in text
    assert "broken" in text


def test_without_otava_the_page_comes_all_the_same(
    command: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Without the extra there is no history at all, or nobody says what is missing."""
    monkeypatch.setattr(changes, "available", lambda: False)
    assert command("trend", str(keep(tmp_path / "kept", report(0, 1)))) == 0
    assert install("trend") in capsys.readouterr().out
    assert page.WITHOUT in html.unescape(Path("trend.html").read_text())


def test_no_report_is_a_usage_error(command: Command, tmp_path: Path) -> None:
    """An empty folder gives an empty page."""
    assert command("trend", str(tmp_path)) == 2
