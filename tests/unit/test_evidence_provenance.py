"""Provenance: what an image was built of, as SLSA's readers expect it."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from ci.errors import UsageError
from ci.release.evidence.provenance import BUILD_TYPE, KIND, provenance
from ci.release.material import Material
from ci.release.statement import make, read
from ci.release.where import Where
from tests.unit.statements import IMAGE, NOW

pytestmark = pytest.mark.unit

DONE = NOW + timedelta(minutes=5)
CI = Where("alice", "https://ci.example/run/1", "gitlab", "c0ffee")
BASE = f"python:3.11-slim@sha256:{'b2' * 32}"


def made(where: Where = CI, *materials: Material) -> dict[str, Any]:
    """Return the provenance of a build of these materials."""
    config = {"image": {"sglang_version": "0.5.23"}}
    return provenance(config, "c0ffee", materials, where, started=NOW, finished=DONE)


def test_provenance_is_as_slsa_has_it(tmp_path: Path) -> None:
    """Verifiers of provenance refuse ours, or miss what went in."""
    lock = tmp_path / "server.txt"
    lock.write_bytes(b"sglang==0.5.23\n")
    found = made(
        CI,
        Material.image(BASE),
        Material.file(lock, "requirements/server.txt"),
        Material.source("https://ci.example/team/project", "c0ffee"),
    )
    assert found == {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": {
                "config": {"image": {"sglang_version": "0.5.23"}},
                "revision": "c0ffee",
            },
            "internalParameters": {"actor": "alice", "system": "gitlab"},
            "resolvedDependencies": [
                {
                    "uri": f"docker://{BASE}",
                    "digest": {"sha256": "b2" * 32},
                    "name": "python:3.11-slim",
                },
                {
                    "uri": "file:requirements/server.txt",
                    "digest": {"sha256": hashlib.sha256(b"sglang==0.5.23\n").hexdigest()},
                    "name": "requirements/server.txt",
                },
                {
                    "uri": "git+https://ci.example/team/project@c0ffee",
                    "digest": {"gitCommit": "c0ffee"},
                    "name": "source",
                },
            ],
        },
        "runDetails": {
            "builder": {"id": "https://ci.example"},
            "metadata": {
                "startedOn": "2026-11-20T09:30:00+00:00",
                "finishedOn": "2026-11-20T09:35:00+00:00",
                "invocationId": "https://ci.example/run/1",
            },
        },
    }


def test_provenance_is_evidence_with_its_time() -> None:
    """The age of provenance can't be told."""
    found = read(make(IMAGE, KIND.predicate_type, made()))
    assert (found.kind, found.created) == ("provenance", DONE)


def test_a_build_on_a_persons_machine_says_so() -> None:
    """A build by hand passes for a CI's."""
    run = made(Where("me"))["runDetails"]
    assert run["builder"] == {"id": "urn:sglang-ci:builder:local"}
    assert "invocationId" not in run["metadata"]


def test_a_commit_without_a_url_is_still_a_commit() -> None:
    """A build whose project has no URL has no source."""
    material = Material.source("", "c0ffee")
    assert (material.uri, material.digest) == ("git:c0ffee", {"gitCommit": "c0ffee"})


@pytest.mark.parametrize("reference", ["python", "python:3.11-slim", "python@sha256:", BASE[:-1]])
def test_a_base_image_without_a_digest_is_refused(reference: str) -> None:
    """Provenance names a base that may be another one tomorrow."""
    with pytest.raises(UsageError, match="isn't pinned by a digest"):
        Material.image(reference)


def test_a_file_that_is_missing_is_told(tmp_path: Path) -> None:
    """A mistyped lock file ends a release in a traceback, or goes unnamed."""
    with pytest.raises(UsageError, match=r"nowhere\.txt: can't be read"):
        Material.file(tmp_path / "nowhere.txt", "nowhere.txt")


def test_each_material_has_a_name_and_an_identity_for_the_record() -> None:
    """A release record can't name what went in."""
    material = Material.image(BASE)
    assert (material.name, material.identity) == ("python:3.11-slim", f"sha256:{'b2' * 32}")
