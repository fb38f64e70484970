"""The page on a release: everything is on it, judged, and nothing on it is markup of others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ci.errors import UsageError
from ci.release import approval
from ci.release.page import page_of, to_html, to_markdown, write_html
from ci.verdict import Outcome
from tests.unit.releases import NOW, Release, released

pytestmark = pytest.mark.unit


@pytest.fixture
def release() -> Iterator[Release]:
    """Yield an image without evidence."""
    with released() as made:
        yield made


def lines(release: Release) -> list[str]:
    """Return the page's lines."""
    return to_markdown(page_of(release.judge())).splitlines()


def line(release: Release, start: str) -> str:
    """Return the one line that starts so."""
    (found,) = (each for each in lines(release) if each.startswith(start))
    return found


def test_an_image_without_evidence_has_a_page(release: Release) -> None:
    """An image that was only pushed ends in a traceback."""
    digest = release.image.descriptor.digest
    assert lines(release)[0] == f"## Release {release.registry.reference}@{digest}"
    assert line(release, "| record ") == "| record | there is none that can be believed |"
    assert line(release, "| prod ").startswith("| prod | ❌ FAILED | no | report: missing")


def test_everything_is_on_it(release: Release) -> None:
    """Who approved, what was found or where it is has to be looked for elsewhere."""
    release.prove(smoke=Outcome.FAILED)
    release.approve("ada")
    release.approve("carol", signed_by="ci")
    release.approve("bob", environment="gone")
    release.promote("test")
    assert line(release, "| smoke ") == "| smoke | ❌ FAILED | x: FAILED |"
    assert line(release, "| prod | ada ") == "| prod | ada | 2026-11-22 12:00:00 UTC |  |  |"
    assert "| carol (vouched for by ci) |" in line(release, "| prod | carol")
    assert line(release, "| gone | bob ")
    assert line(release, "| test | 1 ").endswith("| ci-bot, signed by ci |")
    assert line(release, "| test | ❌ ").startswith("| test | ❌ FAILED | yes | report passed")
    assert line(release, "| record signed by ") == "| record signed by | ci |"
    assert line(release, "| sglang ") == "| sglang | 0.5.23 |"


def test_approvals_that_do_not_count_are_doubted(release: Release) -> None:
    """The page counts what the policy doesn't."""
    release.approve("bob", signed_by="eve")
    release.approve("dan", signed_by="ci")
    assert "a key that isn't trusted" in line(release, "| prod | bob")
    assert "'dan' is no approver" in line(release, "| prod | dan")


def test_forged_evidence_tells_nothing_but_itself(release: Release) -> None:
    """Whoever can push writes the page."""
    release.prove("eve")
    found = lines(release)
    assert not [each for each in found if each.startswith("| smoke ")]
    assert "| record | there is none that can be believed |" in found
    forged = [each for each in found if "a key that isn't trusted" in each]
    assert [each.split(" | ")[1] for each in forged[-2:]] == ["nobody known"] * 2


@pytest.mark.parametrize("unknown", [{"looked_up": False, "reason": "away"}, {}])
def test_vulnerabilities_that_nobody_looked_up_are_not_none(
    release: Release, unknown: dict[str, object]
) -> None:
    """A page without vulnerabilities reads as an image without them."""
    metadata = {"scanFinishedOn": NOW.isoformat()}
    release.attest("vulnerabilities", {"metadata": metadata} | unknown)
    assert line(release, "| not looked up")


def test_what_others_wrote_stays_text(release: Release, tmp_path: Path) -> None:
    """An approval's comment runs a script on whoever reads the page, or breaks its table."""
    hostile = "<script>alert(1)</script> | `x`\n# no heading"
    said = approval.statement_of("prod", "ada", {}, NOW, hostile)
    release.attest("approval", said, "ada")
    row = line(release, "| prod | ada")
    assert "<script>" not in row
    assert "\\| \\`x\\` \\# no heading" in row
    page = tmp_path / "page.html"
    write_html(page_of(release.judge()), page)
    assert "<script" not in page.read_text()
    assert "&lt;script&gt;alert(1)" in to_html(page_of(release.judge()))
    with pytest.raises(UsageError, match="can't be written: Is a directory"):
        write_html(page_of(release.judge()), tmp_path)


def test_malformed_evidence_is_said(release: Release) -> None:
    """A signed record of another shape ends in a traceback."""
    release.attest("record", {"created": NOW.isoformat()})
    release.attest("report", {"finished": NOW.isoformat(), "checks": 5})
    release.attest("promotion", {"created": NOW.isoformat(), "where": 5})
    release.attest("approval", {"created": NOW.isoformat(), "by": 5})
    assert line(release, "| record | m") == "| record | malformed |"
