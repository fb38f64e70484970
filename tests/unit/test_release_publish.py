"""Publishing: only what PASSED, the record last, and a repetition completes what was cut off."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from ci.errors import RegistryFault, TagTaken, UsageError
from ci.image.layout import OciLayout
from ci.image.listing import Installed
from ci.release.evidence import vulnerabilities
from ci.release.found import Evidence
from ci.release.material import Material
from ci.release.pieces import Desk
from ci.release.publication import Publication
from ci.release.publish import Published, publish
from ci.release.store import evidence_of
from ci.release.verify import verify
from ci.release.where import Where
from ci.report.model import Report
from ci.verdict import Outcome
from tests.fakes.layout import image, write_folder
from tests.fakes.registry import failing
from tests.rare import rare
from tests.unit.releases import NOW, WHERE, Release, problems, released, report, settings, signer

pytestmark = pytest.mark.unit

KINDS = ("report", "provenance", "sbom", "vulnerabilities", "record")
INSTALLED = Installed.model_validate(
    {
        "schema_version": "1.0",
        "python": "3.11.2",
        "distributions": [{"name": "sglang", "version": "0.5.23"}],
    }
)


def scan(*_: object) -> dict[str, Any]:
    """Find nothing."""
    metadata = {"scanFinishedOn": (NOW + timedelta(seconds=5)).isoformat()}
    return {"scanner": {"result": []}, "metadata": metadata, "looked_up": True, "skipped": []}


class Shop:
    """An image on its way into a fake registry."""

    def __init__(self, release: Release, folder: Path) -> None:
        """Write the image's layout into `folder`."""
        self.release, self.fake = release, release.fake
        self.layout = OciLayout.open(write_folder(folder, image()))
        self.told: list[str] = []
        self.publication = Publication(
            layout=self.layout,
            reference=release.registry.reference.tagged("1.0"),
            report=Report.model_validate(report()),
            installed=INSTALLED,
            where=Where(**WHERE),
            materials=(Material.source("https://git.example/x", "abc"),),
            config={"image.sglang_version": "0.5.23"},
        )

    def desk(self, by: str = "ci") -> Desk:
        """Return where it is published."""
        return Desk(
            registry=self.release.registry,
            signer=signer(by),
            trust=self.release.trust,
            now=NOW + timedelta(seconds=9),
            settings=self.release.settings,
            progress=self.told.append,
        )

    def publish(self, by: str = "ci", *, untested: bool = False, **changes: Any) -> Published:
        """Publish it."""
        publication = replace(self.publication, **changes)
        return publish(publication, self.desk(by), untested=untested)

    def evidence(self) -> Evidence:
        """Return what is attached to it."""
        return evidence_of(self.release.registry, self.layout.image, self.release.trust)

    def kinds(self) -> list[str]:
        """Return the kinds of what is attached, sorted."""
        return sorted(found.kind for found in self.evidence().found)


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    """Yield an image that isn't published yet, and in which nothing is vulnerable."""
    monkeypatch.setattr(vulnerabilities, "scan", scan)
    everything = {"evidence": list(KINDS)}
    with released(settings(test=everything)) as release:
        yield Shop(release, tmp_path / "layout")


def test_the_image_and_all_its_evidence_are_there(shop: Shop) -> None:
    """A piece of evidence is made and not attached, or can't be verified afterwards."""
    done = shop.publish()
    digest = shop.layout.image.digest
    assert str(done.pushed.reference) == f"{shop.release.registry.reference}@{digest}"
    assert shop.fake.tags["1.0"] == digest
    assert shop.kinds() == sorted(KINDS)
    assert set(done.evidence) == set(KINDS)
    policy = shop.release.policy("test")
    check = verify(shop.evidence(), policy, NOW + timedelta(seconds=9))
    assert not problems(check)
    (record,) = shop.evidence().of("record")
    assert record.predicate["evidence"] == {
        kind: bundle for kind, bundle in done.evidence.items() if kind != "record"
    }
    assert record.predicate["reference"] == f"{shop.publication.reference}@{digest}"
    assert record.predicate["versions"] == {"python": "3.11.2", "sglang": "0.5.23"}
    assert record.predicate["inputs"] == {"source": "gitCommit:abc"}


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.INCONCLUSIVE, Outcome.ERROR])
def test_what_did_not_pass_is_not_pushed(shop: Shop, outcome: Outcome) -> None:
    """A push before the proof, which this project exists to prevent."""
    told = Report.model_validate(report(smoke=outcome))
    with pytest.raises(UsageError, match=f"the report is {outcome}: smoke: x.*nothing was pushed"):
        shop.publish(report=told)
    with pytest.raises(UsageError, match="nothing proves this image"):
        shop.publish(report=None)
    assert not shop.fake.requests


def test_untested_is_said_and_never_proven(shop: Shop) -> None:
    """An image that was published untested can't be told from one that was proven."""
    shop.publish(report=None, untested=True)
    assert shop.kinds() == sorted(set(KINDS) - {"report"})
    (record,) = shop.evidence().of("record")
    assert record.predicate["verdict"] == "ERROR"
    found = problems(verify(shop.evidence(), shop.release.policy("test"), NOW))
    assert "missing" in found["report"]


def test_a_taken_tag_costs_nothing(shop: Shop) -> None:
    """Ten minutes of work are done for a tag that is taken."""
    shop.fake.tags["1.0"] = shop.release.image.descriptor.digest
    with pytest.raises(TagTaken):
        shop.publish()
    assert shop.told == []
    assert not shop.fake.count("POST")


def test_publishing_again_changes_nothing(shop: Shop) -> None:
    """Each repetition of a pipeline adds five more pieces of evidence."""
    first = shop.publish()
    manifests = dict(shop.fake.manifests)
    again = shop.publish(where=Where("somebody-else"))
    assert again.evidence == first.evidence
    assert shop.fake.manifests == manifests


@pytest.mark.parametrize("attached", rare([2, 0, 1, 3, 4]))
def test_a_publication_that_was_cut_off_is_completed(shop: Shop, attached: int) -> None:
    """An image without its evidence stays so, or nobody says what to do about it."""
    puts = r"PUT .*/manifests/sha256:"
    passed = iter(range(attached))
    original = shop.release.registry.attach

    def attach(*arguments: Any) -> Any:
        if next(passed, None) is None:
            shop.fake.fault(puts, failing(503), times=3)
        return original(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shop.release.registry, "attach", attach)
        with pytest.raises(RegistryFault) as caught:
            shop.publish()
    missing = ", ".join(KINDS[attached:])
    words = f"its evidence lacks {missing}: repeating the command completes it"
    assert words in str(caught.value)
    assert f"the image is there, {shop.publication.subject}" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert len(shop.kinds()) == attached
    shop.publish()
    assert shop.kinds() == sorted(KINDS)
    assert not problems(verify(shop.evidence(), shop.release.policy("test"), NOW))


def test_a_new_report_makes_a_new_record(shop: Shop) -> None:
    """A second run on the same digest is told by the first one's record."""
    shop.publish()
    later = Report.model_validate(report(NOW + timedelta(seconds=3)))
    shop.publish(report=later)
    assert len(shop.evidence().of("record")) == 2
    assert not problems(verify(shop.evidence(), shop.release.policy("test"), NOW))


def test_others_evidence_is_not_taken_for_ours(shop: Shop) -> None:
    """Forged evidence that was there before the release becomes a part of its record."""
    forger = Shop(shop.release, Path(shop.layout.path))
    forger.publish("eve")
    shop.publish()
    assert not problems(verify(shop.evidence(), shop.release.policy("test"), NOW))
    shop.publish("")
    assert not problems(verify(shop.evidence(), shop.release.policy("test"), NOW))


def test_what_was_published_unsigned_can_be_signed_later(shop: Shop) -> None:
    """A first publication without a key keeps a release unsigned for ever."""
    shop.publish("")
    assert problems(verify(shop.evidence(), shop.release.policy("test"), NOW))
    shop.publish("ci")
    assert not problems(verify(shop.evidence(), shop.release.policy("test"), NOW))
    assert len(shop.evidence().found) == 2 * len(KINDS)


def test_what_could_not_be_looked_up_is_looked_up_again(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database that was away once leaves a release unsure for ever."""
    away = scan() | {"looked_up": False, "reason": "away"}
    with monkeypatch.context() as patch:
        patch.setattr(vulnerabilities, "scan", lambda *_: away)
        shop.publish()
    policy = shop.release.policy("test")
    assert set(problems(verify(shop.evidence(), policy, NOW))) == {"vulnerabilities looked up"}
    shop.publish()
    assert len(shop.evidence().of("vulnerabilities")) == 2
    assert len(shop.evidence().of("report")) == 1


@pytest.mark.parametrize("kind", rare(KINDS))
def test_a_piece_that_was_deleted_is_made_anew(shop: Shop, kind: str) -> None:
    """`publish` promises that repeating completes a release, and ends with a 400 for ever."""
    shop.fake.referrers_api = False
    shop.publish()
    (gone,) = shop.evidence().of(kind)
    del shop.fake.manifests[gone.artifact.digest]
    later = NOW + timedelta(minutes=1)
    publish(shop.publication, replace(shop.desk(), now=later))
    assert not problems(verify(shop.evidence(), shop.release.policy("test"), later))
    assert gone.artifact.digest not in [each.artifact.digest for each in shop.evidence().found]
