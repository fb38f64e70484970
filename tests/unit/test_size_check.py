"""An image's size against a budget and a baseline: what is FAILED, and what it is called."""

from __future__ import annotations

from functools import partial

import pytest

from ci.image.growth import layers as matched
from ci.image.size import MeasuredImage, weigh
from ci.image.weight import Layer
from ci.report.model import Case, Check
from ci.settings.budgets import BudgetSettings
from ci.verdict import Outcome, Verdict
from tests.unit.judged import check_of
from tests.unit.size_samples import MB, layers, listing, side

pytestmark = pytest.mark.unit

BASE = {"base": 100, "torch": 2000, "app": 50}


def held(
    candidate: MeasuredImage, baseline: MeasuredImage | None = None, **budgets: float
) -> Check:
    """Return the check of an image beside another one."""
    settings = BudgetSettings.model_validate(budgets)
    return check_of("size", partial(weigh, candidate, baseline, settings))


def cases(check: Check) -> dict[str, Case]:
    """Return the cases by their names, which are unique."""
    found = {case.name: case for case in check.cases}
    assert len(found) == len(check.cases)
    return found


def failed(check: Check) -> list[str]:
    """Return the names of the cases that are FAILED."""
    return [case.name for case in check.cases if case.outcome is Outcome.FAILED]


def test_the_same_image_passes() -> None:
    """Nothing can pass."""
    one = side(BASE, {"torch": 900}, {"libc6": 20})
    check = held(one, one, image_bytes=2150 * MB)
    assert check.verdict is Verdict.PASSED
    assert [case.outcome for case in check.cases] == [Outcome.PASSED] * 6


def test_without_a_baseline_the_way_to_one_is_told() -> None:
    """An image passes beside nothing, or a user doesn't learn how to name a baseline."""
    found = cases(held(side(BASE)))
    assert found.pop("image").outcome is Outcome.PASSED
    assert {case.outcome for case in found.values()} == {Outcome.SKIPPED}
    assert "--baseline IMAGE" in found["total"].message
    assert "--baseline IMAGE" in found["layers"].message
    assert "--installed FILE" in found["packages"].message
    assert "image_bytes" in found["budget"].message
    known = cases(held(side(BASE, {"torch": 900}), side(BASE)))
    assert "--baseline-installed" in known["packages"].message
    assert "900 MB  torch 1" in known["packages"].details


@pytest.mark.parametrize(("most", "bad"), [(2150 * MB, []), (2150 * MB - 1, ["budget"])])
def test_a_budget_is_kept_to_the_byte(most: int, bad: list[str]) -> None:
    """An image over its budget passes, or one that just fits doesn't."""
    assert failed(held(side(BASE), image_bytes=most)) == bad


def test_a_grown_layer_is_named_with_both_sizes() -> None:
    """A user reads that an image has grown, and not where."""
    check = held(side(BASE | {"app": 70, "torch": 2100}), side(BASE))
    assert failed(check) == ["total", "layer: app"]
    assert "50 MB to 70 MB (+40.0 %)" in cases(check)["layer: app"].message
    others = cases(check)["layers"]
    assert others.outcome is Outcome.PASSED
    assert "torch: 2 GB to 2.1 GB (+5.0 %)" in others.details


def test_a_grown_package_is_named_with_both_sizes() -> None:
    """A package that has doubled hides in a layer of many."""
    old = side(BASE, {"torch": 900, "gone": 5}, {"libc6": 20})
    new = side(BASE, {"torch": 1000, "fresh": 90}, {"libc6": 40})
    check = held(new, old)
    assert failed(check) == ["package: torch", "Debian package: libc6"]
    assert check.cause.startswith("package: torch: 900 MB to 1 GB (+11.1 %)")
    details = cases(check)["packages"].details.splitlines()
    assert {"new: fresh, 90 MB", "gone: gone, 5 MB"} <= {*details}


@pytest.mark.parametrize(
    ("new", "bad"),
    [
        (110, []),  # exactly the floor and the share
        (111, ["layer: base"]),
        (90, []),
    ],
)
def test_growth_has_to_exceed_share_and_floor(new: int, bad: list[str]) -> None:
    """Growth of a few bytes fails a build, or that of a large layer never does."""
    check = held(side(BASE | {"base": new}), side(BASE))
    assert failed(check) == bad
    small = held(side({"x": 10}), side({"x": 1}))
    assert failed(small) == []


def test_new_and_vanished_layers_are_listed_and_count_in_the_total() -> None:
    """A new layer of a gigabyte passes unseen."""
    check = held(side(BASE | {"extra": 1000}), side({"old": 1} | BASE))
    assert failed(check) == ["total"]
    details = cases(check)["layers"].details
    assert "new: extra, 1 GB" in details
    assert "gone: old, 1 MB" in details


def test_a_step_whose_text_changed_is_still_that_step() -> None:
    """A layer escapes by the version number in its name."""
    old, new = layers(base=1, pip1=2, app=3), layers(base=1, pip2=9, app=3)
    assert [(part.name, part.old, part.new) for part in matched(old, new)] == [
        ("base", MB, MB),
        ("pip2", 2 * MB, 9 * MB),
        ("app", 3 * MB, 3 * MB),
    ]
    assert [part.name for part in matched(old, new[:1])] == ["base", "pip1", "app"]


def test_a_layer_of_the_same_digest_is_the_same_under_any_name() -> None:
    """A layer that an image shares with its baseline is told as new."""
    old, new = layers(a=1, b=2, c=3), layers(x=9, y=9, b=2)
    renamed = Layer("other", old[0].digest, old[0].bytes)
    parts = matched(old, (*new[:2], renamed))
    assert [part.name for part in parts if part.old == part.new] == ["other"]


def test_an_empty_image_or_listing_never_passes() -> None:
    """A check that saw nothing is PASSED."""
    assert held(side({})).verdict is Verdict.INCONCLUSIVE
    known, unknown = side(BASE, {"torch": 9}), MeasuredImage(side(BASE).image, listing({}, {}))
    for new, old in ((unknown, known), (known, unknown)):
        check = held(new, old)
        assert check.verdict is Verdict.INCONCLUSIVE
        assert "listing names no sizes: print it anew" in check.cause


def test_two_versions_of_a_package_are_weighed_together() -> None:
    """A package that is there twice weighs as much as one of them."""
    one = side(BASE, {"Foo_Bar": 30, "foo-bar": 12})
    assert [(each.name, each.bytes) for each in one.packages] == [("foo-bar", 42 * MB)]


def test_figures_are_the_image_its_layers_and_its_largest_packages() -> None:
    """Reports of two builds can't be compared by number."""
    many = {f"p{number:02}": number for number in range(1, 30)}
    figures = held(side(BASE, many, {"libc6": 20})).figures
    assert {(figure.unit, figure.better) for figure in figures} == {("bytes", "lower")}
    found = {figure.name: figure.value for figure in figures}
    assert len(found) == len(figures) == 1 + 3 + 10 + 1
    assert found["image"] == 2150 * MB
    assert found["layer: torch"] == 2000 * MB
    assert found["package: p29"] == 29 * MB
    assert "package: p19" not in found
    assert found["Debian package: libc6"] == 20 * MB


def test_hostile_names_are_one_clean_line_each() -> None:
    """A package's name breaks a report, or two of one name hide each other."""
    names = {"\x1b[31mx\ny": 30, "A" * 5000: 20, "<script>": 10}
    new = side(BASE, names, {"\x00lib\u2028c": 50})
    check = held(new, side(BASE, dict.fromkeys(names, 1), {"\x00lib\u2028c": 1}))
    assert len(failed(check)) == 3
    told = [text for case in check.cases for text in (case.name, case.message)]
    assert all(len(text.splitlines()) == 1 and len(text) < 300 for text in told)
    assert not any("\x1b" in text or "\x00" in text for text in told)
