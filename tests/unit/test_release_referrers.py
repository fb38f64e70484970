"""What is attached to an image, in registries that list it and in those that don't."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from ci.errors import BrokenArtifact, RegistryFault, RegistryRefused
from ci.registry.client import Registry
from ci.registry.oci import BUNDLE, CREATED, EMPTY, INDEX, MANIFEST, Descriptor, canonical
from ci.registry.referrers import listing, tag_of
from tests.fakes.registry import FakeRegistry, answering, failing, fake_registry, meanwhile

pytestmark = pytest.mark.unit

IMAGE = canonical({"schemaVersion": 2, "mediaType": MANIFEST})
SUBJECT = Descriptor.of(MANIFEST, IMAGE)
LIST = f"/v2/team/image/referrers/{SUBJECT.digest}"
NOTES = {CREATED: "2025-01-01T00:00:00Z"}


@pytest.fixture(params=[True, False], ids=["referrers API", "tag schema"])
def fake(request: pytest.FixtureRequest) -> Iterator[FakeRegistry]:
    """A registry with an image, and with or without the referrers API."""
    with fake_registry(referrers_api=request.param) as registry:
        registry.put(MANIFEST, IMAGE, "v1")
        yield registry


def attach(client: Registry, content: bytes = b"{}", kind: str = BUNDLE) -> Descriptor:
    """Attach an artifact of one blob to the image."""
    return client.attach(SUBJECT, kind, [(kind, content, {"about": "it"})], NOTES)


def test_what_is_attached_is_found(fake: FakeRegistry, client: Registry) -> None:
    """Evidence is lost, or shown as something else than it is."""
    assert client.referrers(SUBJECT.digest) == ()
    one, two = attach(client, b"one"), attach(client, b"two", "text/plain")
    assert set(client.referrers(SUBJECT.digest)) == {one, two}
    assert client.referrers(SUBJECT.digest, "text/plain") == (two,)
    assert client.referrers(SUBJECT.digest, "text/html") == ()
    assert (two.artifact_type, two.annotations) == ("text/plain", NOTES)
    found = client.manifest(one.digest)
    assert found.subject == SUBJECT
    assert found.artifact_type == BUNDLE
    assert found.config.media_type == EMPTY
    assert found.layers[0].annotations == {"about": "it"}
    assert client.blob(found.layers[0], 10) == b"one"


def test_a_list_of_ours_is_left_only_where_one_is_needed(
    fake: FakeRegistry, client: Registry
) -> None:
    """Registries with the referrers API are littered with tags, or others lose the list."""
    attach(client)
    tag = tag_of(SUBJECT.digest)
    assert tag == SUBJECT.digest.replace(":", "-")
    assert (tag in fake.tags) is not fake.referrers_api


def test_attaching_again_changes_nothing(fake: FakeRegistry, client: Registry) -> None:
    """A release that is repeated attaches its evidence twice."""
    one, two = attach(client), attach(client)
    before = dict(fake.tags), dict(fake.manifests)
    assert attach(client) == one == two
    assert client.referrers(SUBJECT.digest) == (one,)
    assert (fake.tags, fake.manifests) == before


def test_an_artifact_without_parts(fake: FakeRegistry, client: Registry) -> None:
    """An artifact that says everything by its annotations is refused by registries."""
    made = client.attach(SUBJECT, "text/x-note", [], NOTES)
    assert client.referrers(SUBJECT.digest) == (made,)
    assert [layer.media_type for layer in client.manifest(made.digest).layers] == [EMPTY]


def test_many_attach_at_once(fake: FakeRegistry) -> None:
    """Evidence that is attached at the same time as other evidence is lost."""

    def attached(number: int) -> Descriptor:
        with Registry(fake.reference(), fake.access) as client:
            return attach(client, b"%d" % number)

    with ThreadPoolExecutor(6) as pool:
        made = set(pool.map(attached, range(12)))
    with Registry(fake.reference(), fake.access) as client:
        assert set(client.referrers(SUBJECT.digest)) == made
    assert len(made) == 12


def test_threads_of_one_client_attach_at_once(fake: FakeRegistry, client: Registry) -> None:
    """Without compare-and-swap the threads of one release lose each other's evidence."""
    fake.swaps = False
    fake.fault("PUT .*/sha256-", meanwhile(lambda: time.sleep(0.02)))
    with ThreadPoolExecutor(6) as pool:
        made = set(pool.map(lambda number: attach(client, b"%d" % number), range(12)))
    assert set(client.referrers(SUBJECT.digest)) == made


def test_a_list_that_is_overwritten_at_once_is_written_again() -> None:
    """Another client's list takes the place of ours, and ours is gone."""
    theirs, tag = Descriptor.of(MANIFEST, IMAGE), tag_of(SUBJECT.digest)
    features: dict[str, Any] = {"referrers_api": False, "swaps": False}
    with fake_registry(**features) as fake, Registry(fake.reference(), fake.access) as client:
        overwriting = meanwhile(lambda: fake.put(INDEX, listing([theirs]), tag))
        arming = meanwhile(lambda: fake.fault(f"GET .*/{tag}", overwriting, times=1))
        fake.put(MANIFEST, IMAGE)
        fake.fault(f"PUT .*/{tag}", arming, times=1)
        ours = attach(client)
        entries = json.loads(fake.manifests[fake.tags[tag]][1])["manifests"]
    assert [entry["digest"] for entry in entries] == [theirs.digest, ours.digest]


@pytest.mark.parametrize("status", [None, 400, 404, 422])
def test_what_was_deleted_leaves_a_list_of_ours(status: int | None) -> None:
    """One artifact that somebody deleted keeps everybody from attaching another, for ever."""
    told: list[str] = []
    with (
        fake_registry(referrers_api=False) as fake,
        Registry(fake.reference(), fake.access, told.append) as client,
    ):
        one, gone, two = (attach(client, content) for content in (b"one", b"gone", b"two"))
        del fake.manifests[gone.digest]
        assert set(client.referrers(SUBJECT.digest)) == {one, gone, two}
        if status:
            fake.fault("PUT .*/sha256-", failing(status, "MANIFEST_BLOB_UNKNOWN"), times=1)
        three = attach(client, b"three")
        assert client.referrers(SUBJECT.digest) == (one, two, three)
        image = fake.reference().at(SUBJECT.digest)
        assert told == [f"{image}: what was deleted is no longer listed: {gone.digest}"]
        assert attach(client, b"gone") == gone
        assert client.referrers(SUBJECT.digest) == (one, two, three, gone)


def test_a_list_that_is_declined_for_another_reason_stays_declined() -> None:
    """A registry that takes no list is told as one that lost something, or loses what it has."""
    told: list[str] = []
    with (
        fake_registry(referrers_api=False) as fake,
        Registry(fake.reference(), fake.access, told.append) as client,
    ):
        made = attach(client, b"one")
        fake.fault("PUT .*/sha256-", failing(400, "MANIFEST_INVALID"))
        with pytest.raises(RegistryFault, match="write manifest: answered 400"):
            attach(client, b"two")
        del fake.manifests[made.digest]
        fake.faults.clear()
        fake.fault("PUT .*/sha256-", failing(403, "DENIED"))
        with pytest.raises(RegistryRefused, match="DENIED"):
            attach(client, b"two")
        assert json.loads(fake.manifests[fake.tags[tag_of(SUBJECT.digest)]][1])["manifests"]
    assert told == []


def test_a_list_of_several_pages() -> None:
    """Evidence beyond a registry's first page doesn't exist."""
    with fake_registry(page=2) as fake, Registry(fake.reference(), fake.access) as client:
        made = {attach(client, b"%d" % number) for number in range(5)}
        assert set(client.referrers(SUBJECT.digest)) == made
        assert fake.count(f"GET {LIST}") == 3


def test_a_list_that_does_not_say_what_is_attached() -> None:
    """Registries that confuse an artifact's type with its config's hide all evidence."""
    with fake_registry() as fake, Registry(fake.reference(), fake.access) as client:
        made = attach(client)
        for kind in ("", EMPTY):
            entry = Descriptor(made.media_type, made.digest, made.size, kind)
            gone = Descriptor(MANIFEST, Descriptor.of("", b"gone").digest, 4, kind)
            content = listing([entry, gone])
            fake.fault(f"GET {LIST}", answering(200, content, Content_Type=INDEX), times=2)
            assert client.referrers(SUBJECT.digest, BUNDLE) == (made,)
            assert client.referrers(SUBJECT.digest) == (made, gone)


@pytest.mark.parametrize("status", [404, 405])
def test_registries_without_the_api_say_so_in_many_ways(status: int) -> None:
    """A registry that doesn't know the referrers API can't be used."""
    with (
        fake_registry(referrers_api=False) as fake,
        Registry(fake.reference(), fake.access) as client,
    ):
        made = attach(client)
        fake.fault(f"GET {LIST}", failing(status), times=1)
        assert client.referrers(SUBJECT.digest) == (made,)
        fake.fault(f"GET {LIST}", answering(200, b"<html>", Content_Type="text/html"))
        assert client.referrers(SUBJECT.digest) == (made,)


def test_a_refused_list_is_no_empty_list(fake: FakeRegistry, client: Registry) -> None:
    """Somebody who may not see the evidence is told that there is none."""
    fake.fault(f"GET {LIST}", failing(403, "DENIED"))
    with pytest.raises(RegistryRefused, match="list referrers: answered 403 Forbidden: DENIED"):
        client.referrers(SUBJECT.digest)


@pytest.mark.parametrize(
    "content", [b"[]", b"{", b'{"manifests": [{}]}', b'{"manifests": {"a":1}}']
)
def test_a_malformed_list_is_found(fake: FakeRegistry, client: Registry, content: bytes) -> None:
    """A list that is none is a crash, or an empty one."""
    attach(client)
    where = LIST if fake.referrers_api else f".*/{tag_of(SUBJECT.digest)}"
    fake.fault(f"GET {where}", answering(200, content, Content_Type=INDEX))
    with pytest.raises(BrokenArtifact, match="list referrers: "):
        client.referrers(SUBJECT.digest)
