"""Figures and plots in a report: what a reader sees of measured numbers."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ci.report import html, markdown
from ci.report.model import Figure, Plot, Series
from ci.report.svg import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, drawing
from ci.report.text import measured
from tests.unit.report_samples import report, smoke

pytestmark = pytest.mark.unit

Points = tuple[tuple[float, float], ...]


def plotted(*lines: Points, title: str = "Latency", name: str = "TTFT") -> Plot:
    """Return a plot of these lines."""
    series = tuple(Series(name=name, points=points) for points in lines)
    return Plot(title=title, x="ms", y="share", series=series)


def test_lines_fill_the_drawing() -> None:
    """A line ends beside the drawing, or up is down."""
    (line,) = drawing(plotted(((0, 0), (10, 1)))).lines
    assert line.path == f"M{LEFT:.1f} {HEIGHT - BOTTOM:.1f}L{WIDTH - RIGHT:.1f} {TOP:.1f}"


def test_ticks_are_round_and_within() -> None:
    """An axis is labelled with odd numbers, or far from its line."""
    drawn = drawing(plotted(((0, 0), (9.7, 0.93))))
    assert [label for _, label in drawn.x_ticks] == ["0", "2", "4", "6", "8"]
    assert [label for _, label in drawn.y_ticks] == ["0", "0.2", "0.4", "0.6", "0.8"]
    assert all(LEFT <= place <= WIDTH - RIGHT for place, _ in drawn.x_ticks)


def test_a_single_point_can_be_seen() -> None:
    """A load that was measured once leaves an empty plot."""
    (line,) = drawing(plotted(((3, 7),))).lines
    assert line.points == (((LEFT + WIDTH - RIGHT) / 2, (HEIGHT - BOTTOM + TOP) / 2),)


def test_points_are_not_joined() -> None:
    """A line leads from one doubtful night to the next, as if something lay between."""
    plot = plotted(((0, 0), (10, 1)))
    corners = ((LEFT, HEIGHT - BOTTOM), (WIDTH - RIGHT, TOP))
    for drawn in (drawing(plot.model_copy(update={"kind": "points"})), drawing(plot, {"TTFT"})):
        (line,) = drawn.lines
        assert (line.path, line.points) == ("", corners)
    check = smoke().model_copy(update={"plots": (plot.model_copy(update={"kind": "points"}),)})
    assert html.render(report(check)).count("<circle") == len(corners)


def test_steps_go_across_before_they_go_up() -> None:
    """A cumulative distribution shows shares at values below those that have them."""
    (line,) = drawing(plotted(((0, 0), (10, 1))).model_copy(update={"kind": "step"})).lines
    assert line.path == f"M{LEFT:.1f} {HEIGHT - BOTTOM:.1f}H{WIDTH - RIGHT:.1f}V{TOP:.1f}"


numbers = st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(st.lists(st.tuples(numbers, numbers), max_size=5).map(tuple), max_size=3))
def test_any_numbers_can_be_drawn(lines: list[Points]) -> None:
    """A report can't be written because of a number in it."""
    drawn = drawing(plotted(*lines))
    assert len(drawn.lines) == len(lines)
    assert len(drawn.x_ticks) <= 20
    assert "nan" not in "".join(line.path for line in drawn.lines)


@pytest.mark.parametrize(
    ("figure", "shown"),
    [
        (Figure(name="x", value=0.0123, unit="s"), "12.3 ms"),
        (Figure(name="x", value=12.5, unit="s", low=10), "12.5 s [10 s, ?]"),
        (Figure(name="x", value=2_376_389_572, unit="bytes"), "2,376 MB"),
        (Figure(name="x", value=340.126, unit="tokens/s"), "340.1 tokens/s"),
        (Figure(name="x", value=1.0314), "1.031"),
        (Figure(name="x", value=123456.7), "123,457"),
    ],
    ids=str,
)
def test_figures_have_units(figure: Figure, shown: str) -> None:
    """A number is shown without the unit that gives it a meaning."""
    assert measured(figure) == shown


def test_both_pages_show_figures_and_the_html_draws_plots() -> None:
    """What was measured is in report.json alone."""
    words = "<b>'\"&\x1b[1m"
    figures = tuple(
        Figure(name=f"TTFT p{level}", value=level / 100, unit="s") for level in (50, 99)
    )
    plots = (plotted(((0, 0), (1, 1)), ((0, 1), (1, 0)), title=words, name=words),)
    check = smoke().model_copy(update={"figures": figures, "plots": plots})
    page = html.render(report(check))
    assert "TTFT p99" in page
    assert "990 ms" in page
    assert "<b>'" not in page
    start = page.index("<svg")
    root = ET.fromstring(page[start : page.index("</svg>") + len("</svg>")])  # noqa: S314 - ours
    assert len(root.findall(".//path")) == 2
    text = markdown.render(report(check))
    assert "TTFT p50" in text
    assert "500 ms" in text
