"""What strangers attach to a digest: each piece is named, none counts, and none is in the way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ci.registry.oci import BUNDLE, Descriptor
from ci.release.page import page_of, to_markdown
from ci.release.store import PREDICATE_TYPE
from ci.verdict import Verdict
from tests.unit.releases import NOW, Release, released, report, skipped

pytestmark = pytest.mark.unit

HINT = {PREDICATE_TYPE: "urn:sglang-ci:report:1"}
"""What makes a piece look like a report in the registry's list."""


@pytest.fixture
def release() -> Iterator[Release]:
    """Yield an image that may go to the environment `test`."""
    with released() as made:
        made.prove()
        yield made


def attached(release: Release, *bundles: bytes) -> Descriptor:
    """Attach bundles, whatever they hold, in one artifact."""
    parts = [(BUNDLE, bundle, dict[str, str]()) for bundle in bundles]
    return release.registry.attach(release.image.descriptor, BUNDLE, parts, HINT)


def without_its_blob(release: Release) -> None:
    """Take away what an artifact holds, and leave its manifest."""
    made = attached(release, b"soon gone")
    (bundle,) = release.registry.manifest(made.digest).layers
    del release.fake.blobs[bundle.digest]


def with_another_blob(release: Release) -> None:
    """Put something else in the place of what an artifact holds."""
    made = attached(release, b"soon another")
    (bundle,) = release.registry.manifest(made.digest).layers
    release.fake.blobs[bundle.digest] = b"sooN another"


def deleted(release: Release) -> None:
    """Delete an artifact that the registry goes on listing."""
    release.fake.referrers_api = False
    made = attached(release, b"soon deleted")
    del release.fake.manifests[made.digest]


GARBAGE: dict[str, tuple[Callable[[Release], Any], str]] = {
    "nothing": (lambda at: attached(at, b""), "the bundle is no JSON"),
    "a web page": (lambda at: attached(at, b"<html>"), "the bundle is no JSON"),
    "another JSON": (lambda at: attached(at, b'{"a": 1}'), "the bundle is no application/vnd."),
    "deep JSON": (lambda at: attached(at, b"[" * 100_000), "the bundle is no JSON"),
    "no bundle": (
        lambda at: at.registry.attach(at.image.descriptor, BUNDLE, [], HINT),
        "malformed: it holds 0 bundles, and one is expected",
    ),
    "two bundles": (
        lambda at: attached(at, b"{}", b"[]"),
        "malformed: it holds 2 bundles, and one is expected",
    ),
    "no blob": (without_its_blob, "gone or replaced in the registry: answered 404"),
    "another blob": (with_another_blob, "gone or replaced in the registry: the content's digest"),
    "deleted": (deleted, "gone or replaced in the registry: answered 404"),
    "forged": (lambda at: at.attest("report", report(), "eve"), "signed with a key that isn't"),
    "unsigned": (lambda at: at.attest("report", report(), ""), "nobody signed it"),
    "of another digest": (
        lambda at: at.attest("report", report(), about=at.other("other").image),
        "it is about another digest",
    ),
}


@pytest.mark.parametrize("name", GARBAGE)
def test_what_strangers_attach_is_named_and_changes_nothing(release: Release, name: str) -> None:
    """Whoever can push decides what may go to production, or that nothing does."""
    put, words = GARBAGE[name]
    if name == "deleted":
        release.fake.referrers_api = False
        release.prove()
    put(release)
    check = release.verify("test")
    assert check.verdict is Verdict.PASSED, check
    named = [message for message in skipped(check) if message.startswith(words)]
    assert len(named) == 1, skipped(check)
    assert "| smoke | ✅ PASSED |" in to_markdown(page_of(release.judge()))
    release.approve("ada", created=NOW)
    assert release.verify("test").verdict is Verdict.PASSED
