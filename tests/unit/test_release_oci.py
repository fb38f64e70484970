"""Descriptors and manifests."""

from __future__ import annotations

from typing import Any

import pytest

from ci.registry.oci import EMPTY, EMPTY_CONTENT, MANIFEST, Descriptor, Manifest, canonical

pytestmark = pytest.mark.unit

DIGEST = f"sha256:{'0a' * 32}"
ENTRY = {"mediaType": MANIFEST, "digest": DIGEST, "size": 7}


def manifest(document: Any) -> Manifest:
    """Return a manifest of that content."""
    content = document if isinstance(document, bytes) else canonical(document)
    return Manifest(Descriptor.of(MANIFEST, content), content)


@pytest.mark.parametrize(
    "document",
    [ENTRY, ENTRY | {"artifactType": "a/b", "annotations": {"k": "v"}}],
)
def test_descriptors_are_read_and_written(document: dict[str, Any]) -> None:
    """A field of a descriptor is lost on its way."""
    assert Descriptor.from_dict(document).to_dict() == document


def test_empty_content_has_the_digest_of_the_specification() -> None:
    """Artifacts have a config that no other tool takes for an empty one."""
    empty = Descriptor.of(EMPTY, EMPTY_CONTENT)
    start = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    assert (empty.digest, empty.size) == (start, 2)


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {},
        ENTRY | {"digest": "sha512:00"},
        ENTRY | {"digest": 5},
        ENTRY | {"size": -1},
        ENTRY | {"size": True},
        ENTRY | {"size": "7"},
        ENTRY | {"mediaType": 7},
        ENTRY | {"artifactType": ["a"]},
        ENTRY | {"annotations": ["a"]},
        ENTRY | {"annotations": {"a": 1}},
    ],
)
def test_malformed_descriptors_are_found(document: Any) -> None:
    """What a registry made up crashes us somewhere else."""
    with pytest.raises(ValueError, match="descriptor"):
        Descriptor.from_dict(document)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[]", b"[" * 100_000])
def test_malformed_manifests_are_found(content: bytes) -> None:
    """What is no manifest is a crash."""
    with pytest.raises(ValueError, match="is no JSON"):
        _ = manifest(content).document


def test_a_manifests_parts() -> None:
    """A part of a manifest isn't where it is looked for."""
    found = manifest(
        {"config": ENTRY, "layers": [ENTRY], "subject": ENTRY, "annotations": {"a": "b", "c": 1}}
    )
    part = Descriptor.from_dict(ENTRY)
    assert (found.config, found.layers, found.subject) == (part, (part,), part)
    assert found.annotations == {"a": "b"}
    assert found.artifact_type == MANIFEST
    assert manifest({"artifactType": "a/b"}).artifact_type == "a/b"
    assert manifest({}).subject is None
    assert manifest({"manifests": None}).manifests == ()
    with pytest.raises(ValueError, match="is no list"):
        _ = manifest({"layers": {"a": 1}}).layers


def test_the_same_content_has_the_same_bytes() -> None:
    """The order in which something was written makes it another artifact."""
    assert canonical({"b": 1, "a": {"d": 1, "c": 2}}) == b'{"a":{"c":2,"d":1},"b":1}'
