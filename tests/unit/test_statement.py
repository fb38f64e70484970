"""In-toto statements: written, read back, and refused where they aren't what they should be."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sigstore.dsse import Statement as OtherStatement

from ci.release.kinds import EVIDENCE, KINDS
from ci.release.statement import make, read
from ci.settings.release import EVIDENCE_KINDS
from tests.rare import rare
from tests.unit.statements import DIGEST, IMAGE, NOW, approval

pytestmark = pytest.mark.unit

APPROVAL = KINDS["approval"].predicate_type
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


def changed(**parts: Any) -> bytes:
    """Return an approval with parts of the statement replaced."""
    return json.dumps(json.loads(approval()) | parts).encode()


def dated(kind: str, moment: str) -> dict[str, Any]:
    """Return the smallest predicate of a kind that says when it was made."""
    found: Any = moment
    for key in reversed(KINDS[kind].created):
        found = {key: found}
    return dict(found)


def test_a_statement_is_what_other_tools_read() -> None:
    """Verifiers of others don't see what is said, or about which image."""
    assert json.loads(approval()) == {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "registry.example:5000/team/image", "digest": {"sha256": DIGEST[7:]}}],
        "predicateType": "urn:sglang-ci:approval:1",
        "predicate": {"created": "2026-11-20T09:30:00+00:00", "environment": "prod"},
    }


def test_a_statement_is_the_same_for_the_same_content() -> None:
    """Attaching the same evidence twice makes two pieces of it."""
    one = make(IMAGE, APPROVAL, {"created": NOW.isoformat(), "a": 1, "b": 2})
    assert one == make(IMAGE, APPROVAL, {"b": 2, "a": 1, "created": NOW.isoformat()})


@given(st.dictionaries(st.text(), JSON, max_size=4))
def test_what_is_said_is_what_is_read(predicate: dict[str, Any]) -> None:
    """A value is lost or changed on its way through the registry."""
    predicate = predicate | {"created": NOW.isoformat()}
    found = read(make(IMAGE, APPROVAL, predicate))
    assert found.predicate == predicate
    assert (found.subject_digest, found.subject_name) == (DIGEST, IMAGE.name)
    assert (found.kind, found.created) == ("approval", NOW)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_says_when_it_was_made(kind: str) -> None:
    """The age of a kind of evidence can't be told, and stale evidence passes or fresh fails."""
    found = read(
        make(IMAGE, KINDS[kind].predicate_type, dated(kind, "2026-11-20T10:30:00.5+01:00"))
    )
    assert found.kind == kind
    assert found.created == datetime(2026, 11, 20, 9, 30, 0, 500_000, tzinfo=UTC)
    assert found.created.utcoffset() == NOW.utcoffset()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("moment", rare(["", "2026-11-20T09:30:00", None, "yesterday", 7, {}], 3))
def test_a_time_that_is_none_is_refused(kind: str, moment: Any) -> None:
    """Evidence without an age is taken for fresh, or for a time of another zone."""
    with pytest.raises(ValueError, match="has no time at") as caught:
        make(IMAGE, KINDS[kind].predicate_type, dated(kind, moment))
    assert ".".join(KINDS[kind].created) in str(caught.value)


def test_a_kind_of_others_is_read_by_its_created_time() -> None:
    """A statement of a kind that nobody here knows breaks the list of all evidence."""
    found = read(make(IMAGE, "https://example.com/x", {"created": "2026-11-20T09:30:00Z"}))
    assert (found.kind, found.created) == ("", NOW)


def test_what_others_can_not_read_is_not_written() -> None:
    """A server's strange words make evidence that Sigstore's clients refuse."""
    content = make(
        IMAGE, APPROVAL, {"created": NOW.isoformat(), "half": "a\ud800b", "e": "\U0001f600"}
    )
    assert read(content).predicate["half"] == "a\ufffdb"
    assert read(content).predicate["e"] == "\U0001f600"
    OtherStatement(content)
    with pytest.raises(ValueError, match="JSON"):
        make(IMAGE, APPROVAL, {"created": NOW.isoformat(), "x": float("nan")})


def test_an_image_without_a_digest_is_refused() -> None:
    """Evidence is made about a tag, which means another image tomorrow."""
    with pytest.raises(ValueError, match="no sha256 digest"):
        make(IMAGE.tagged("v1"), APPROVAL, {"created": NOW.isoformat()})


SUBJECT = {"name": "x", "digest": {"sha256": "0" * 64}}


@pytest.mark.parametrize(
    "subject",
    [
        None,
        {},
        [],
        ["x"],
        [SUBJECT, SUBJECT],
        [{"name": "x"}],
        [{"name": "x", "digest": "0" * 64}],
        [{"name": "x", "digest": {"sha512": "0" * 128}}],
        [{"name": "x", "digest": {"sha256": "0" * 63}}],
        [{"name": "x", "digest": {"sha256": "A" * 64}}],
        [{"name": "x", "digest": {"sha256": 7}}],
        [{"name": 7, "digest": {"sha256": "0" * 64}}],
    ],
)
def test_a_statement_about_anything_but_one_digest_is_refused(subject: Any) -> None:
    """A statement counts for an image that it isn't about."""
    with pytest.raises(ValueError, match="subject"):
        read(changed(subject=subject))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"7",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        changed(_type="https://in-toto.io/Statement/v0.1"),
        changed(predicateType=None),
        changed(predicateType=["x"]),
        changed(predicate=None),
        changed(predicate="created"),
    ],
    ids=range(13),
)
def test_what_is_no_statement_is_refused_in_one_line(content: bytes) -> None:
    """A broken piece of evidence ends the command in a traceback, or counts."""
    with pytest.raises(ValueError, match="the statement") as caught:
        read(content)
    assert "\n" not in str(caught.value)


def test_every_kind_has_its_own_type() -> None:
    """One kind of evidence passes for another."""
    assert len({kind.predicate_type for kind in KINDS.values()}) == len(KINDS)
    assert all(kind.name == name for name, kind in KINDS.items())
    assert KINDS["sbom"].predicate_type == "https://cyclonedx.org/bom"
    assert KINDS["provenance"].predicate_type == "https://slsa.dev/provenance/v1"


def test_settings_know_every_kind_and_no_other() -> None:
    """An environment can't demand a kind of evidence, or demands one that nobody makes."""
    assert sorted(EVIDENCE) == sorted(EVIDENCE_KINDS)
    assert [kind.order for kind in EVIDENCE.values()] == [0, 1, 1, 1, 2]
