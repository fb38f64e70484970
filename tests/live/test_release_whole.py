"""A whole release on real registries: published, approved, promoted, verified, tampered with."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from ci.registry.manifests import UNCHECKED
from ci.registry.oci import canonical
from ci.release import approval
from ci.release.store import attach, sign
from ci.report.model import now
from ci.verdict import Verdict
from tests.fakes.layout import image, write_tar
from tests.live.releases import HANG, House, built, runner_in
from tests.unit.release_commands import Workplace, files_below, leaks
from tests.unit.releases import WHERE, key, report, signer

pytestmark = pytest.mark.live


@pytest.fixture(params=["docker", "referrers"])
def house(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[House]:
    """Yield an image that was never promoted."""
    with built(request.param, tmp_path / "own") as made:
        yield made


def test_from_an_image_to_production_and_back(house: House, tmp_path: Path) -> None:
    """A release works on a fake registry alone."""
    refused = house.run("promote", house.by_digest, "--environment", "prod", by="ci", code=1)
    assert "FAILED: was in test: no signed promotion" in refused
    for environment in ("test", "prod"):
        house.run("promote", house.by_digest, "--environment", environment, by="ci")
    first = house.by_digest
    clean = elsewhere(house, tmp_path / "clean")
    assert clean.run("verify", first, "--environment", "prod").splitlines()[-1].startswith("report")
    assert clean.run("current", house.reference, "--environment", "prod") == f"{first}\n"

    write_tar(house.folder / "image.tar", image([b"another"]))
    told = ("--report", "proof", "--installed", "installed.json")
    house.run("publish", "image.tar", f"{house.reference}:second", *told, by="ci")
    house.to_prod()
    assert clean.run("current", house.reference, "--environment", "prod") == f"{house.by_digest}\n"
    assert clean.run("previous", house.reference, "--environment", "prod") == f"{first}\n"
    back = ("promote", first, "--environment", "prod", "--rollback")
    assert "promotion 3" in house.run(*back, by="ci")
    lines = clean.run("history", house.reference, "--environment", "prod").splitlines()
    assert [line.split()[0] for line in lines] == ["3", "2", "1"]
    assert [line.split()[4] for line in lines] == [
        first.partition("@")[2],
        house.digest,
        first.partition("@")[2],
    ]
    assert clean.run("current", house.reference, "--environment", "prod") == f"{first}\n"
    assert no_leak(house, clean)


def elsewhere(house: House, folder: Path) -> Workplace:
    """Return another machine: it has the policy, the public keys and the reference."""
    folder.mkdir()
    shutil.copytree(house.folder / "keys", folder / "keys")
    shutil.copy(house.folder / "sglang-ci.toml", folder)
    made = Workplace(runner_in(folder), folder, house.reference, house.access)
    made.variables = dict(house.variables)
    return made


def no_leak(house: House, clean: Workplace) -> bool:
    """Look for every secret in all outputs, folders and on the registry's disk."""
    house.run("show", house.by_digest, "--html", "page.html", by="ci")
    texts = [house.said.encode(), clean.said.encode()]
    texts += files_below(house.folder) + files_below(clean.folder)
    stored = [path for path in (house.storage or house.folder).rglob("*") if path.is_file()]
    texts += [path.read_bytes() for path in stored]
    assert len(stored) > 3
    assert leaks(house.access, *texts) == []
    return True


@pytest.fixture(scope="module", params=["docker", "referrers"])
def shared(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[House]:
    """Yield an image that may go to production; what a test does to it has to be undone."""
    with built(request.param, tmp_path_factory.mktemp(request.param)) as made:
        made.run("promote", made.by_digest, "--environment", "test", by="ci")
        yield made


@pytest.fixture
def tested(shared: House) -> Iterator[House]:
    """Yield the same, and see that it is as before when the test is done."""
    yield shared
    shared.verify(Verdict.PASSED)


@pytest.mark.parametrize("kind", ["report", "record", "sbom", "vulnerabilities", "provenance"])
def test_a_piece_that_was_deleted_is_named(tested: House, kind: str) -> None:
    """Somebody with access to the registry takes a piece of evidence away."""
    gone = tested.piece(kind).artifact.digest
    with tested.client as registry:
        whole = registry.manifest(gone)
    delete(tested, gone)
    found = tested.verify(Verdict.FAILED)
    with tested.client as registry:
        registry.put_manifest(gone, whole.content, whole.descriptor.media_type, expected=UNCHECKED)
    assert kind in found
    assert "missing" in found[kind]
    if kind != "record":
        assert "gone or replaced" in found[f"{kind} of the record"]


def delete(house: House, digest: str) -> None:
    """Delete a manifest, as the registry lets its users do."""
    at = house.running.reference()
    login = (house.access.username, house.access.password)
    answer = requests.delete(
        f"http://{at.registry}/v2/{at.repository}/manifests/{digest}",
        auth=login if house.access.username else None,
        timeout=HANG,
    )
    assert answer.status_code == 202, answer.text


def test_a_strangers_artifact_that_was_deleted_is_in_nobodys_way(house: House) -> None:
    """A scanner's artifact that somebody deleted keeps a digest from approval for ever."""
    with house.client as registry:
        image = registry.manifest(house.digest).descriptor
        kept, gone = (
            registry.attach(image, "text/x-scan", [("text/plain", text, {})], {})
            for text in (b"kept", b"gone")
        )
    delete(house, gone.digest)
    house.run("approve", house.by_digest, "--environment", "prod", "--by", "carol", by="ci")
    listed_by_us = house.storage is not None
    said = f"what was deleted is no longer listed: {gone.digest}"
    assert (said in house.said) is listed_by_us
    house.run("promote", house.by_digest, "--environment", "test", by="ci")
    house.publish()
    with house.client as registry:
        assert registry.referrers(house.digest, "text/x-scan") == (kept,)
    house.verify(Verdict.PASSED)


def test_pieces_of_ours_that_were_deleted_are_made_anew(tmp_path: Path) -> None:
    """A deleted piece of evidence is missing for ever, whatever `publish` promises."""
    with built("docker", tmp_path / "own") as house:
        house.run("promote", house.by_digest, "--environment", "test", by="ci")
        for kind in ("report", "record", "sbom", "vulnerabilities", "provenance"):
            delete(house, house.piece(kind).artifact.digest)
            house.verify(Verdict.FAILED)
            house.publish()
            house.verify(Verdict.PASSED)


@pytest.mark.parametrize("kind", ["report", "record", "sbom", "vulnerabilities", "provenance"])
def test_a_piece_that_was_replaced_on_the_disk_is_named(tested: House, kind: str) -> None:
    """Somebody with access to the registry's disk changes what evidence says."""
    if tested.storage is None:
        pytest.skip("this registry keeps everything in memory")
    bundle = tested.piece(kind).bundle
    name = bundle.removeprefix("sha256:")
    (file,) = tested.storage.rglob(f"{name}/data")
    before = file.read_bytes()
    whole = json.loads(before)
    payload = whole["dsseEnvelope"]["payload"]
    whole["dsseEnvelope"]["payload"] = payload[:-8] + "AAAA" + payload[-4:]
    file.write_bytes(canonical(whole))
    found = tested.verify(Verdict.FAILED)
    file.write_bytes(before)
    assert kind in found
    named = [message for message in found.values() if "gone or replaced in the registry" in message]
    assert named, found


def test_forged_evidence_is_named_and_changes_nothing(tested: House) -> None:
    """Whoever can push decides what goes to production, or that nothing does."""
    with tested.judge() as judge:
        for by in ("eve", ""):
            forged = sign(judge.reference, "report", report(now()), signer(by))
            attach(judge.registry, judge.image.descriptor, forged)
    found = tested.verify(Verdict.PASSED)
    assert len([text for text in found.values() if "a key that isn't trusted" in text]) == 1
    assert "nobody signed it" in found.values()


def test_an_approval_of_another_digest_is_named(house: House) -> None:
    """An approval of a good image is attached to a bad one."""
    good = house.digest
    write_tar(house.folder / "image.tar", image([b"bad"]))
    told = ("--report", "proof", "--installed", "installed.json")
    house.run("publish", "image.tar", f"{house.reference}:bad", *told, by="ci")
    with house.judge() as judge:
        for name in ("ada", "bob"):
            said = approval.statement_of("prod", name, WHERE, now())
            signed = sign(judge.registry.reference.at(good), "approval", said, signer(name))
            attach(judge.registry, judge.image.descriptor, signed)
    found = house.verify(Verdict.FAILED)
    assert found["approvals"].startswith("0 of 2 given")
    named = [text for text in found.values() if text == f"it is about another digest, {good}"]
    assert len(named) == 2


def test_a_tag_that_was_moved_by_hand_is_found(tested: House) -> None:
    """Somebody pushes to the environment's tag."""
    with tested.client as registry:
        other = registry.manifest(tested.piece("report").artifact.digest)
        there = registry.resolve("test")
        assert there
        registry.put_manifest(
            "test", other.content, other.descriptor.media_type, expected=there.digest
        )
    found = tested.run("current", tested.reference, "--environment", "test", code=4)
    assert "it was set by hand, or that promotion isn't finished" in found
    put_right = tested.run("promote", tested.by_digest, "--environment", "test", by="ci")
    assert "is in test: promotion 1" in put_right


def test_what_is_attached_is_what_others_read(tested: House) -> None:
    """Nobody else's tools can read the evidence."""
    oras = shutil.which("oras")
    if oras is None:
        pytest.skip("oras isn't installed")
    login = ["--username", tested.access.username, "--password", tested.access.password]
    done = subprocess.run(
        [oras, "discover", "--plain-http", "--format", "json", tested.by_digest]
        + (login if tested.access.username else []),
        capture_output=True,
        text=True,
        timeout=HANG,
        check=True,
    )
    told = json.loads(done.stdout)
    listed = told.get("referrers") or told.get("manifests")
    with tested.judge() as judge:
        ours = {each.artifact.digest for each in judge.evidence.found}
    assert {each["digest"] for each in listed} == ours


def test_the_test_can_see_a_leak(tested: House) -> None:
    """The search for secrets finds nothing because it looks for nothing."""
    secret = key("ada")[0].splitlines()[1].encode()
    assert leaks(tested.access, b"x" + secret + b"x")
