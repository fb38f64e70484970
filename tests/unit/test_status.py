"""The pages of a repository: what they show of its environments, and where they lead."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from ci.errors import MissingArtifact
from ci.registry.reference import Reference
from ci.release.kind import Cell, Link
from ci.release.page import ReleasePage, to_html
from ci.release.session import RepositorySession
from ci.release.signing import NoSigner
from ci.release.site import INDEX, LINES, Site
from ci.release.where import Where
from ci.verdict import Outcome, Verdict
from tests.unit.commands import Command
from tests.unit.release_commands import Workplace
from tests.unit.releases import NOW, WHERE, Release, released, settings

pytestmark = pytest.mark.unit

LATER = NOW + timedelta(hours=1)


@pytest.fixture
def release() -> Iterator[Release]:
    """Yield an image without evidence."""
    with released() as made:
        yield made


def pages(release: Release) -> dict[str, ReleasePage]:
    """Return all pages on a repository."""
    reference = Reference.parse(str(release.registry.reference))
    session = RepositorySession(
        release.settings, reference, release.registry, release.trust, NoSigner(),
        Where(**WHERE), LATER,
    )  # fmt: skip
    return dict(Site(session).pages({}))


def rows(page: ReleasePage, title: str) -> list[tuple[Cell, ...]]:
    """Return the rows of a section."""
    (found,) = (section for section in page.sections if section.title == title)
    return list(found.rows)


def row(page: ReleasePage, title: str, first: str) -> tuple[Cell, ...]:
    """Return the one row that begins so."""
    (found,) = (one for one in rows(page, title) if one[0] == first)
    return found


def test_a_repository_that_is_not_there_is_no_empty_one(release: Release) -> None:
    """A typing error is a page that says that nothing is in production."""
    with pytest.raises(MissingArtifact, match="no such repository"):
        pages(release)


def test_nothing_is_in_an_environment_yet(release: Release) -> None:
    """Whoever begins gets a traceback."""
    release.fake.tags["new"] = release.image.descriptor.digest
    first = pages(release)[INDEX]
    assert [one[:2] for one in rows(first, "Environments")] == [
        ("test", "nothing"),
        ("prod", "nothing"),
    ]


def test_what_is_there_is_judged(release: Release) -> None:
    """The page says PASSED of what may not be there, or not what is there."""
    release.prove()
    release.promote("test")
    release.promote("prod")
    release.deployed("rest", NOW, environment="test", verdict="PASSED")
    release.deployed("aborted", NOW - timedelta(hours=1), environment="test", verdict="FAILED")
    found = pages(release)
    _, there, since, allowed, deployed = row(found[INDEX], "Environments", "test")
    assert isinstance(there, Link)
    assert there.path in found
    assert release.image.descriptor.digest.startswith(there.text)
    assert since == "2026-11-22 12:00:00 UTC by ci-bot"
    assert (allowed, deployed) == (Verdict.PASSED, Verdict.PASSED)
    assert row(found[INDEX], "Environments", "prod")[3] is Verdict.FAILED
    (line,) = rows(found[INDEX], "History of test")
    assert (line[0], line[3]) == ("1", "ci-bot, signed by ci")


def test_a_tag_that_was_set_by_hand_is_told(release: Release) -> None:
    """Somebody moves an environment's tag, and the page shows it as promoted."""
    release.prove()
    release.promote("test")
    release.fake.tags["test"] = release.other("else").image.descriptor.digest
    _, there, *_, problem = row(pages(release)[INDEX], "Environments", "test")
    assert "set by hand" in str(problem)
    assert isinstance(there, Link)


def test_a_forged_promotion_is_not_believed(release: Release) -> None:
    """Whoever can push writes the page."""
    release.prove()
    release.promote("test")
    first = pages(replace(release, settings=settings(test={"signers": ["ada"]})))[INDEX]
    (line,) = rows(first, "History of test")
    assert "not to be believed" in str(line[4])
    assert "isn't to be believed" in str(row(first, "Environments", "test")[-1])


def test_a_release_that_is_gone_has_no_page(release: Release) -> None:
    """One image that was deleted costs all pages."""
    old = release.other("old")
    old.promote("test")
    release.promote("test")
    del release.fake.manifests[old.image.descriptor.digest]
    first = pages(release)[INDEX]
    newest, oldest = rows(first, "History of test")
    assert isinstance(newest[1], Link)
    assert "without a page" in str(oldest[1])


def test_what_was_never_promoted_is_shown_by_its_tag(release: Release) -> None:
    """A release that waits for its approval isn't on the page."""
    release.prove(smoke=Outcome.FAILED)
    release.fake.tags["0.5.23-abc"] = release.image.descriptor.digest
    ((_, tags, may),) = rows(pages(release)[INDEX], "Releases")
    assert (tags, may) == ("0.5.23-abc", "nowhere")


@pytest.mark.long
def test_a_long_history_is_cut_and_said_to_be(release: Release) -> None:
    """A page of hundreds of promotions, or one that hides that there were more."""
    others = [release.other(f"{at}") for at in range(2)]
    for at in range(LINES + 3):
        others[at % 2].promote("test")
    lines = rows(pages(release)[INDEX], "History of test")
    assert len(lines) == LINES + 1
    assert lines[-1][0] == "and 3 more"


def test_many_releases_are_cut_and_said_to_be(
    release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Releases are left out without a word, and what is in an environment first of all."""
    monkeypatch.setattr("ci.release.site.RELEASES", 2)
    others = [release.other(f"{at}") for at in range(4)]
    for at, one in enumerate(others):
        release.fake.tags[f"v{at}"] = one.image.descriptor.digest
    others[0].promote("prod")
    found = pages(release)
    assert len(found) == 3
    assert found[INDEX].facts["releases without a page"] == "2"
    assert isinstance(row(found[INDEX], "Environments", "prod")[1], Link)
    assert {one[1] for one in rows(found[INDEX], "Releases")} == {"v0", "v3"}


def test_links_lead_to_pages_and_nothing_is_markup_of_others(release: Release) -> None:
    """A tag's name is read as HTML, or a link leads nowhere."""
    release.promote("test")
    found = pages(release)
    first = replace(found[INDEX], title="<script>x</script>")
    text = to_html(first)
    assert "<script>" not in text
    links = re.findall(r'href="(releases/[^"]+)"', text)
    assert links
    assert set(links) <= set(found)


def test_the_command_makes_a_folder(at: Workplace, command: Command, tmp_path: Path) -> None:
    """The pages can't be opened from disk, or a folder in the way is a traceback."""
    at.publish("--report-dir", "kept")
    at.to_prod()
    assert command("status", at.reference, "--reports", "kept") == 0
    site = Path("site")
    assert "History of prod" in (site / INDEX).read_text()
    assert "trend.html" in (site / INDEX).read_text()
    assert (site / "trend.html").exists()
    assert len(list((site / "releases").iterdir())) == 1
    (site / "releases/sha256-old.html").write_text("")
    assert command("status", at.reference) == 0
    assert len(list((site / "releases").iterdir())) == 1
    assert command("status", at.by_digest) == 2
    Path("taken").write_text("")
    assert command("status", at.reference, "--out", "taken/site") == 2
