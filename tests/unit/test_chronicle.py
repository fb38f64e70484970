"""The history as text: each line, what is wrong with it, and whether it is whole."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from ci.release.chronicle import Chronicle
from tests.unit.releases import NOW, Release, released

pytestmark = pytest.mark.unit


@pytest.fixture
def release() -> Iterator[Release]:
    """Yield the first of two images that were promoted."""
    with released() as made:
        made.promote()
        made.other("second").promote(now=NOW + timedelta(hours=1))
        yield made


def chronicle(release: Release, environment: str = "prod") -> Chronicle:
    """Return the history."""
    return Chronicle.of(release.reader(environment))


def test_a_whole_history_has_no_problem(release: Release) -> None:
    """A good history fails a pipeline, or its lines don't say who, what and when."""
    found = chronicle(release)
    digest = release.image.descriptor.digest
    assert found.problem == ""
    assert list(found.texts())[1] == f"1  2026-11-22 12:00:00 UTC  {digest}  ci-bot, signed by ci"
    assert len(list(found.texts())) == 2


def test_no_history_is_no_problem(release: Release) -> None:
    """An environment that nothing was promoted to yet fails a pipeline."""
    assert chronicle(release, "test") == Chronicle(())


def test_a_tag_without_a_history_is_one(release: Release) -> None:
    """A tag that somebody pushed reads as an environment without a history."""
    release.fake.tags["test"] = release.image.descriptor.digest
    assert "it was set by hand" in chronicle(release, "test").problem


def test_every_problem_is_counted_and_the_first_is_told(release: Release) -> None:
    """A broken history passes, or says nothing of where it is broken."""
    lines = list(release.reader().lines())
    release.fake.blobs[lines[1].found.bundle] = b"{}"
    release.fake.tags["prod"] = release.image.descriptor.digest
    found = chronicle(release)
    assert found.problem.startswith(f"the tag names {release.image.descriptor.digest}")
    assert found.problem.endswith("(and 1 more)")
    text = list(found.texts())[1]
    assert text.startswith(f"?  {lines[1].manifest}  NOT TO BE BELIEVED: gone or replaced")


def test_a_history_that_was_set_back_is_broken_until_it_goes_on(release: Release) -> None:
    """A promotion that somebody cut off is never missed, or a lost race fails for ever."""
    (second, first) = release.reader().lines()
    release.fake.tags["prod.history"] = first.manifest
    release.fake.tags["prod"] = first.digest
    assert chronicle(release).problem == ""
    release.fake.tags["prod"] = second.digest
    found = chronicle(release)
    assert "(and 1 more)" in found.problem
    assert list(found.texts())[-1].endswith("NOT IN THE HISTORY")
    release.fake.tags["prod"] = first.digest
    release.other("second").promote(now=NOW + timedelta(hours=2))
    assert chronicle(release).problem == ""
    assert list(chronicle(release).texts())[-1].endswith("NOT IN THE HISTORY")
