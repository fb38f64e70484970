"""What a publication is made of: its tag, what it was built of, and no secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from ci.errors import UsageError
from ci.image.layout import OciLayout
from ci.registry.reference import Reference
from ci.release import intake
from ci.release.where import Where
from ci.settings import Settings
from tests.fakes.layout import image, write_folder
from tests.unit.releases import settings

pytestmark = pytest.mark.unit

BARE = Reference.parse("registry.example/team/image")
LABELS = {
    "org.opencontainers.image.version": "0.5.23+cpu",
    "org.opencontainers.image.revision": "0123456789abcdef0123456789abcdef01234567",
    "org.opencontainers.image.source": "https://git.example/team/project",
    "org.opencontainers.image.created": "2026-11-22T11:00:00Z",
    "org.opencontainers.image.base.name": f"python:3.11-slim@sha256:{'b' * 64}",
}


@pytest.fixture
def layout(tmp_path: Path) -> OciLayout:
    """Return an image that says what it is."""
    return OciLayout.open(write_folder(tmp_path / "layout", image(labels=LABELS)))


@pytest.mark.parametrize("tag", ["prod", "prod.history", "sha256-" + "0" * 64])
def test_tags_with_a_meaning_are_not_for_images(layout: OciLayout, tag: str) -> None:
    """A push puts something into production, without any policy."""
    with pytest.raises(UsageError):
        intake.target(layout, BARE.tagged(tag), settings())


def test_what_a_layout_tells(layout: OciLayout, tmp_path: Path) -> None:
    """A tag or a provenance is made of something else than the image."""
    assert intake.target(layout, BARE, settings()).tag == "0.5.23-cpu-0123456789ab"
    assert intake.target(layout, BARE.tagged("v1"), settings()).tag == "v1"
    lock = tmp_path / "requirements.lock"
    lock.write_bytes(b"x")
    base = f"docker.io/library/python@sha256:{'a' * 64}"
    found = intake.materials(layout, [base], [lock])
    bases = ["python:3.11-slim", "docker.io/library/python"]
    assert [each.name for each in found] == ["source", *bases, lock.name]
    assert found[0].digest == {"gitCommit": LABELS["org.opencontainers.image.revision"]}
    assert str(intake.built(layout)) == "2026-11-22 11:00:00+00:00"
    assert intake.origin(layout, Where("me", commit="x")).commit.startswith("0123")
    moving = {"org.opencontainers.image.base.name": "python:3.11-slim"}
    unlabelled = OciLayout.open(write_folder(tmp_path / "bare", image(labels=moving)))
    assert intake.built(unlabelled) is None
    assert intake.materials(unlabelled, [], []) == ()
    assert intake.origin(unlabelled, Where("me", commit="x")).commit == "x"
    with pytest.raises(UsageError, match="field 'version' is empty here"):
        intake.target(unlabelled, BARE, settings())


def test_settings_in_the_provenance_hold_no_secret() -> None:
    """The key of a server, or the password of an index, stands in the registry for everybody."""
    secret = ["--api-key", "planted", "--hf-token=planted", "--api-key"]
    flags = [*secret, "--tp", "2", "--tokenizer=x"]
    told = intake.building(
        Settings.model_validate(
            {
                "image": {"torch_index": "https://me:planted@index.example/simple"},
                "server": {"flags": flags, "environment": {"HF_TOKEN": "planted"}},
                "registry": {"tag": "not-of-the-build"},
            }
        )
    )
    assert "planted" not in str(told)
    assert told["image.torch_index"] == "https://index.example/simple"
    assert told["server.environment"] == "['HF_TOKEN']"
    shown = ["--api-key", "***", "--hf-token=***", "--api-key", "--tp", "2", "--tokenizer=x"]
    assert told["server.flags"] == str(shown)
    assert not [name for name in told if name.startswith("registry")]
    assert intake.bare("git clone https://ci:planted@git.example/x") == (
        "git clone https://git.example/x"
    )
