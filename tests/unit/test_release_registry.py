"""Reading and writing in a registry that does as it should, and in one that lies."""

from __future__ import annotations

import re
import sys
from functools import partial
from io import BytesIO

import pytest

from ci.errors import BrokenArtifact, ConflictingWrite, MissingArtifact, RegistryFault, UsageError
from ci.extras import install
from ci.registry import transport
from ci.registry.client import Registry
from ci.registry.manifests import UNCHECKED
from ci.registry.oci import DOCKER_MANIFEST, MANIFEST, Descriptor, canonical
from tests.fakes.registry import FakeRegistry, answering, cutting, meanwhile

pytestmark = pytest.mark.unit

ONE, TWO, THREE = (canonical({"schemaVersion": 2, "number": each}) for each in range(3))
CONTENT = b"content of a blob"
BLOB = Descriptor.of("text/plain", CONTENT)


def test_a_tag_and_a_digest_name_the_same(fake: FakeRegistry, client: Registry) -> None:
    """A tag leads to something else than what was put there."""
    put = client.put_manifest("v1", ONE, DOCKER_MANIFEST, expected=None)
    assert put == Descriptor.of(DOCKER_MANIFEST, ONE)
    assert client.resolve("v1") == client.resolve(put.digest) == put
    for target in ("v1", put.digest):
        assert client.manifest(target).descriptor == put
        assert client.manifest(target).content == ONE


def test_what_is_not_there(client: Registry) -> None:
    """What is missing is taken for a fault, or the other way round."""
    digest = BLOB.digest
    assert client.resolve("v1") is None
    assert client.resolve(digest) is None
    assert client.tags() == []
    with pytest.raises(MissingArtifact, match=r"team/image:v1: read manifest: answered 404"):
        client.manifest("v1")
    with pytest.raises(MissingArtifact, match=f"team/image@{digest}: read blob: answered 404"):
        client.blob(BLOB, 100)


def test_a_registry_that_names_no_digest(fake: FakeRegistry, client: Registry) -> None:
    """Registries whose answer to HEAD lacks the digest can't be used."""
    digest = fake.put(MANIFEST, ONE, "v1")
    fake.fault("HEAD", answering(200))
    assert client.resolve("v1") == Descriptor(MANIFEST, digest, len(ONE))


@pytest.mark.parametrize("claim", [{}, {"Docker_Content_Digest": Descriptor.of("", ONE).digest}])
def test_wrong_content_is_found(
    fake: FakeRegistry, client: Registry, claim: dict[str, str]
) -> None:
    """A registry passes something else off as what was asked for."""
    digest = fake.put(MANIFEST, ONE, "v1")
    fake.fault("GET .*/manifests/", answering(200, TWO, **claim))
    with pytest.raises(BrokenArtifact, match=f"{digest} was promised"):
        client.manifest(digest)
    if claim:
        with pytest.raises(BrokenArtifact, match=f"image:v1: read manifest: .*{digest} was prom"):
            client.manifest("v1")
    other = Descriptor.of("text/plain", TWO)
    fake.fault("GET .*/blobs/", answering(200, THREE))
    with pytest.raises(BrokenArtifact, match="read blob: the content's digest is"):
        client.blob(other, 100)


def test_a_lie_about_a_digest_is_found(fake: FakeRegistry, client: Registry) -> None:
    """What HEAD says about a digest is believed."""
    one, two = fake.put(MANIFEST, ONE), fake.put(MANIFEST, TWO)
    fake.fault("HEAD", answering(200, b"x", Docker_Content_Digest=two))
    with pytest.raises(BrokenArtifact, match=f"{one}: resolve: answered with {two}"):
        client.resolve(one)


@pytest.mark.parametrize("content", [b"", b"<html>", b"[]", b"\xff\xfe"])
def test_what_is_no_manifest_is_found(fake: FakeRegistry, client: Registry, content: bytes) -> None:
    """A web page under a registry's address is a crash."""
    fake.fault("GET", answering(200, content))
    with pytest.raises(BrokenArtifact, match="answered with no JSON"):
        client.manifest("v1")
    with pytest.raises(BrokenArtifact, match="list tags: answered with no JSON"):
        client.tags()


def test_what_is_too_long_is_not_read(fake: FakeRegistry, client: Registry) -> None:
    """A registry fills our memory."""
    fake.blobs[BLOB.digest] = CONTENT + b"more"
    assert len(CONTENT) == 17
    with pytest.raises(BrokenArtifact, match="17 bytes long, and at most 16"):
        client.blob(BLOB, 16)
    with pytest.raises(BrokenArtifact, match="answered with over 17 bytes"):
        client.blob(BLOB, 17)
    fake.fault("GET .*/manifests/", answering(200, b" " * 5_000_000))
    with pytest.raises(BrokenArtifact, match="answered with over 4194304 bytes"):
        client.manifest("v1")


def test_a_blob_is_uploaded_once(fake: FakeRegistry, client: Registry) -> None:
    """Layers that are there are sent again, or one that isn't is left out."""
    assert client.put_blob(BLOB, partial(BytesIO, CONTENT))
    assert not client.put_blob(BLOB, partial(BytesIO, CONTENT))
    assert fake.blobs == {BLOB.digest: CONTENT}
    assert fake.count("PUT") == 1
    assert client.blob(BLOB, 17) == CONTENT


def test_an_empty_blob_is_uploaded(fake: FakeRegistry, client: Registry) -> None:
    """An upload of nothing is sent in a form that registries refuse."""
    empty = Descriptor.of("text/plain", b"")
    assert client.put_blob(empty, BytesIO)
    assert client.blob(empty, 0) == b""


@pytest.mark.parametrize("content", [CONTENT[:-1], CONTENT + b"x"])
def test_a_blob_of_another_length_is_not_sent(
    fake: FakeRegistry, client: Registry, content: bytes
) -> None:
    """A wrong length makes the registry wait, or takes the rest for another request."""
    with pytest.raises(BrokenArtifact, match="isn't 17 bytes long"):
        client.put_blob(BLOB, partial(BytesIO, content))
    assert not fake.blobs


def test_a_blob_that_cannot_be_read_is_named(client: Registry, tmp_path: object) -> None:
    """A bad disk on this side is taken for a bad network, and tried again."""

    def opened() -> BytesIO:
        raise OSError(5, "Input/output error")

    with pytest.raises(RegistryFault, match="can't be read: Input/output error") as caught:
        client.put_blob(BLOB, opened)
    assert type(caught.value) is RegistryFault


def test_blobs_are_read_where_a_registry_says(fake: FakeRegistry, client: Registry) -> None:
    """Registries that keep blobs in another store can't be used."""
    fake.blobs[BLOB.digest] = CONTENT
    fake.redirects = True
    assert client.blob(BLOB, 100) == CONTENT
    assert fake.count("GET /storage/") == 1


def test_redirects_without_end(fake: FakeRegistry, client: Registry) -> None:
    """A registry sends us round in circles for ever."""
    fake.fault("GET", answering(307, Location="/v2/team/image/manifests/v1"))
    with pytest.raises(RegistryFault, match="TooManyRedirects"):
        client.manifest("v1")


def test_tags_of_all_pages(fake: FakeRegistry, client: Registry) -> None:
    """Tags beyond a registry's first page don't exist."""
    names = sorted(f"v{number}" for number in range(7))
    for name in names:
        fake.put(MANIFEST, ONE, name)
    fake.page = 3
    assert client.tags() == names
    assert fake.count("GET .*/tags/list") == 3


def test_pages_without_end(
    fake: FakeRegistry, client: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list that always has a next page keeps us for ever."""
    monkeypatch.setattr(transport, "MOST_PAGES", 20)
    link = '</v2/team/image/tags/list>; rel="next"'
    fake.fault("GET", answering(200, b'{"tags": ["v1"]}', Link=link))
    with pytest.raises(BrokenArtifact, match="a list of over 20 pages"):
        client.tags()


@pytest.mark.parametrize("swaps", [True, False])
def test_a_tag_moves_only_from_what_was_expected(
    fake: FakeRegistry, client: Registry, *, swaps: bool
) -> None:
    """A promotion overwrites another one that it knows nothing of."""
    fake.swaps = swaps
    one = client.put_manifest("prod", ONE, MANIFEST, expected=None)
    with pytest.raises(ConflictingWrite, match=f"prod: write manifest: it names {one.digest}"):
        client.put_manifest("prod", TWO, MANIFEST, expected=None)
    two = client.put_manifest("prod", TWO, MANIFEST, expected=one.digest)
    with pytest.raises(ConflictingWrite, match=f"and {one.digest} was expected"):
        client.put_manifest("prod", THREE, MANIFEST, expected=one.digest)
    with pytest.raises(ConflictingWrite, match="it names nothing"):
        client.put_manifest("test", THREE, MANIFEST, expected=one.digest)
    assert fake.tags == {"prod": two.digest}
    assert client.put_manifest("prod", TWO, MANIFEST, expected=None) == two
    assert client.put_manifest("prod", ONE, MANIFEST, expected=UNCHECKED) == one


@pytest.mark.parametrize(("before", "pattern"), [(None, "If-None-Match"), (ONE, "If-Match")])
def test_a_write_in_the_last_instant_is_found(
    fake: FakeRegistry, client: Registry, before: bytes | None, pattern: str
) -> None:
    """Two that write a tag at once both believe that it is theirs."""
    expected = fake.put(MANIFEST, before, "prod") if before else None
    fake.fault("PUT", meanwhile(lambda: fake.put(MANIFEST, TWO, "prod")))
    with pytest.raises(ConflictingWrite, match=f"it names {Descriptor.of('', TWO).digest}"):
        client.put_manifest("prod", THREE, MANIFEST, expected=expected)
    assert fake.manifests[fake.tags["prod"]][1] == TWO


def test_a_write_whose_answer_was_lost_is_no_conflict(fake: FakeRegistry, client: Registry) -> None:
    """A connection that is cut after the registry stored a manifest looks like a lost race."""

    def stored() -> None:
        fake.put(MANIFEST, ONE, "prod")

    fake.fault("PUT", lambda request: meanwhile(stored)(request) or cutting()(request), times=1)
    put = client.put_manifest("prod", ONE, MANIFEST, expected=None)
    assert fake.tags == {"prod": put.digest}
    assert fake.count("PUT") == 2


def test_a_manifest_that_is_stored_as_another_is_found(
    fake: FakeRegistry, client: Registry
) -> None:
    """A registry that rewrites manifests breaks every digest, and nobody notices."""
    fake.fault("PUT", answering(201, Docker_Content_Digest=BLOB.digest))
    with pytest.raises(BrokenArtifact, match=f"it is stored as {BLOB.digest}"):
        client.put_manifest("v1", ONE, MANIFEST, expected=UNCHECKED)


def test_a_missing_package_is_named(fake: FakeRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody who installed the checks alone gets a traceback."""
    monkeypatch.delitem(sys.modules, "ci.registry.transport", raising=False)
    monkeypatch.delitem(sys.modules, "ci.registry.login", raising=False)
    monkeypatch.setitem(sys.modules, "oras", None)
    with pytest.raises(UsageError, match=re.escape(f"oras isn't installed: {install('release')}")):
        Registry(fake.reference())
