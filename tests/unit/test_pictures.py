"""The README's pictures show what the code asks, and are small."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from docs.pictures.graph import draw

pytestmark = pytest.mark.unit

PICTURES = Path(__file__).parents[2] / "docs" / "pictures"
MOST_BYTES = 200_000
QUESTIONS = (("readiness", "Is it up?"), ("smoke", "Does 1 < 2 & so on?"))


def parsed(picture: str) -> ET.Element:
    """Return a picture's tree."""
    return ET.fromstring(picture)  # noqa: S314 - our own


def words(picture: str) -> list[str]:
    """Return every text of a picture, in its order."""
    found = parsed(picture).iter("{http://www.w3.org/2000/svg}text")
    return [text.text or "" for text in found]


def width(picture: str) -> int:
    """Return how wide a picture is."""
    return int(parsed(picture).attrib["viewBox"].split()[2])


def test_graph_shows_the_whole_promise() -> None:
    """A reader of the picture misses a noun of the graph, or a question."""
    shown = words(draw(QUESTIONS))
    for noun in ("source", "Image", "Server", "Report", "publish", "Release", "approve", "promote"):
        assert noun in shown
    asked = [part for question in QUESTIONS for part in question]
    assert [word for word in shown if word in asked] == asked


def test_longer_questions_have_room() -> None:
    """A question stands across the box's edge."""
    assert width(draw([*QUESTIONS, ("bench", "w" * 90)])) > width(draw(QUESTIONS))


def test_graph_is_drawn_from_the_questions() -> None:
    """The picture shows questions that nobody asks any more: `make pictures` draws it anew."""
    make = pytest.importorskip("docs.pictures.make")
    assert (PICTURES / "graph.svg").read_text() == make.graph()


@pytest.mark.parametrize("name", ["graph.svg", "report.png"])
def test_picture_is_there_and_small(name: str) -> None:
    """The README's first screen has a hole, or takes long to load."""
    assert 0 < (PICTURES / name).stat().st_size < MOST_BYTES
    assert f"docs/pictures/{name}" in (PICTURES.parents[1] / "README.md").read_text()
