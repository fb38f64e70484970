"""The HTML page: whole, safe and readable, also with a server's words at their worst."""

import base64
import hashlib
import re
from html.parser import HTMLParser
from importlib.resources import files

import pytest
from hypothesis import given

from ci.report import html
from ci.report.model import Check, Phase, Report
from ci.report.text import clean, one_line
from tests.unit import report_samples
from tests.unit.report_samples import HOSTILE, START, any_report, unhurried

pytestmark = pytest.mark.unit

VOID = {"meta", "link", "input"}


class Page(HTMLParser):
    """What a browser finds in a page: elements with their attributes, and words."""

    def __init__(self, text: str) -> None:
        """Read `text`; complains where elements don't nest."""
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(text)
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Check that the innermost element ends."""
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Note words by the element that they stand in."""
        self.words.setdefault(self._open[-1] if self._open else "", []).append(data)

    def said(self) -> str:
        """Return all words but those of script and style."""
        kept = [word for tag, word in self.words.items() if tag not in ("script", "style")]
        return " ".join(" ".join(words) for words in kept)

    def having(self, name: str) -> list[str]:
        """Return the values of one attribute, over all elements."""
        return [found[name] or "" for _, found in self.elements if name in found]


def test_the_page_says_what_the_report_says() -> None:
    """The page lacks the verdict, its cause, a check, a case, a phase or a stage not run."""
    report = report_samples.bad()
    said = Page(html.render(report)).said()
    for words in ("Failed", one_line(report.cause), "scheduler died", "E   assert 11 == 12"):
        assert words in said
    for check in report.checks:
        assert all(one_line(case.name) in said for case in check.cases)
        assert all(phase.name in said for phase in check.phases)
    for words in ("24.0 s", "of 300 s", "needs a registry", "2.11.0+cpu", "Linux x86_64, 2 cores"):
        assert words in said


def test_the_page_needs_nothing_else() -> None:
    """The page asks the network, or is broken when opened from disk."""
    page = Page(html.render(report_samples.bad()))
    assert page.having("src") == []
    ids = page.having("id")
    assert len(ids) == len(set(ids))
    assert all(link == "data:," or link[1:] in ids for link in page.having("href"))
    assert set(page.having("aria-labelledby")) <= set(ids)
    assert "url(" not in "".join(page.words["style"])
    assert "@import" not in "".join(page.words["style"])


def test_the_policy_allows_only_our_script() -> None:
    """A script that slipped into the page would run, or our own would not."""
    page = Page(html.render(report_samples.bad()))
    (policy,) = [value for value in page.having("content") if "default-src" in value]
    (script,) = page.words["script"]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert "default-src 'none'" in policy
    assert re.findall(r"script-src ([^;]*)", policy) == [f"'sha256-{digest}'"]


@unhurried
@given(any_report())
def test_any_text_stays_text(report: Report) -> None:
    """Some text in some field adds elements or attributes to the page, or is lost."""
    page = Page(html.render(report))
    tags = [tag for tag, _ in page.elements]
    assert tags.count("script") == tags.count("style") == 1
    assert not [name for _, found in page.elements for name in found if name.startswith("on")]
    assert tags.count("pre") == sum(
        bool(text) for check in report.checks for text in [check.log, *details(check)]
    )
    said = one_line(page.said())
    assert all(one_line(case.message) in said for c in report.checks for case in c.cases)


def details(check: Check) -> list[str]:
    """Return the details of all cases of `check`."""
    return [case.details for case in check.cases]


def test_hostile_words_are_shown_as_they_are() -> None:
    """Markup or template code in a message is obeyed, escaped twice, or hidden."""
    page = Page(html.render(report_samples.bad()))
    assert one_line(HOSTILE) in page.said()
    assert clean(HOSTILE) in "".join(page.words["pre"])
    assert "49" not in page.said()


def test_a_report_without_checks_says_so() -> None:
    """A run that checked nothing leaves a page that looks fine."""
    said = Page(html.render(report_samples.report())).said()
    assert "Error" in said
    assert "No check ran." in said


def test_hundreds_of_cases_are_all_there() -> None:
    """Cases of a large suite are missing, or those that failed are not on top."""
    page = Page(html.render(report_samples.many()))
    outcomes = page.having("data-outcome")
    assert len(outcomes) == 1203
    second = outcomes[601:]
    assert second[0] == "FAILED"
    assert second.count("FAILED") == 1


def test_bars_lie_where_the_phases_lay() -> None:
    """The timeline shows another order, length or limit than was measured."""
    phases = (
        Phase(name="first", start=0, seconds=4, budget=5),
        Phase(name="second", start=4, seconds=6, budget=5),
        Phase(name="part", start=5, seconds=1, within="second"),
    )
    check = Check(name="ready", started=START, seconds=10, phases=phases)
    line = html.timeline(check)
    places = [(bar.left, bar.width, bar.limit, bar.over) for bar in line.bars]
    assert places == [
        (0, 40, 50, False),
        (40, 60, 90, True),
        (50, 10, None, False),
    ]
    assert [label for _, label in line.ticks] == ["0 s", "2 s", "4 s", "6 s", "8 s", "10 s"]
    assert line.limited
    page = Page(html.render(report_samples.report(check)))
    rows = [found for tag, found in page.elements if tag == "li"]
    assert [row["class"] for row in rows] == ["", " over", "part"]


def test_a_timeline_of_no_length_is_drawn() -> None:
    """Phases too short to be measured break the page."""
    phases = (Phase(name="first", start=0, seconds=0),)
    check = Check(name="ready", started=START, seconds=0, phases=phases)
    assert html.timeline(check).bars[0].width == 0
    assert "first" in html.render(report_samples.report(check))


def luminance(colour: str) -> float:
    """Return the relative luminance of '#rrggbb' as WCAG 2 defines it."""
    shares = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    linear = [s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_words_stand_out_from_their_ground(scheme: int) -> None:
    """Words are too faint to read for many (WCAG AA asks for 4.5)."""
    style = files("ci.report").joinpath("page.css").read_text(encoding="utf-8")
    palette = re.findall(r":root \{(.*?)\}", style, re.DOTALL)[scheme]
    colours = dict(re.findall(r"--(\w+): (#\w{6});", palette))
    for name in ("ink", "soft", "passed", "failed", "error", "inconclusive"):
        for ground in ("paper", "sunk"):
            light, dark = sorted((luminance(colours[name]), luminance(colours[ground])))[::-1]
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (name, ground)
