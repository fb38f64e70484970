"""The module's preflight on a real engine: all that is wrong is told before anything is built."""

from __future__ import annotations

from pathlib import Path

import pytest

from ci.report.write import load
from ci.verdict import Verdict
from tests.engine.conftest import Dagger, said

pytestmark = pytest.mark.engine

WRONG = """
[model]
path = "my-model"
[registry]
ca_file = "ca.pem"
[trust]
keys = { ci = "ci.pub" }
[image]
sglang_version = "0.5.16.0"
"""
TOLD = (
    "model.path: my-model can't be seen from a container; pass --model my-model",
    "registry.ca_file: ca.pem can't be seen from a container; pass --registry-ca ca.pem",
    "trust.keys.ci: ci.pub can't be seen from a container; "
    "pass --trust DIR with ci.pub in it, and write trust/ci.pub here",
    "there is no lmsysorg/sglang:v0.5.16.0: write 0.5.16",
    "tag: the tag {version}-{revision} is made of a revision, and none is given: pass --revision",
)


@pytest.mark.parametrize("function", ["preflight", "ci"])
def test_all_that_is_wrong_is_told_at_once(dagger: Dagger, tmp_path: Path, function: str) -> None:
    """A user waits fourteen minutes for the first of five mistakes, and again for the second."""
    config = tmp_path / "sglang-ci.toml"
    config.write_text(WRONG)
    to = f"--publish-to=registry.invalid/team/{function}"
    ran = dagger("call", f"--config={config}", function, to)
    assert ran.returncode != 0
    for line in TOLD:
        assert line in said(ran)


def test_a_refused_run_keeps_its_report(dagger: Dagger, tmp_path: Path) -> None:
    """What is wrong is in the log alone."""
    kept = tmp_path / "kept"
    ran = dagger(
        *("call", "ci", "--publish-to=registry.invalid/team/image", "directory", "export"),
        f"--path={kept}",
    )
    assert ran.returncode == 0, said(ran)
    report = load(kept)
    assert [check.name for check in report.checks] == ["preflight"]
    assert report.verdict is Verdict.ERROR
    assert {"tag", "registry"} <= {case.name for case in report.checks[0].cases if case.message}


def test_a_gpu_or_an_image_that_isnt_there(dagger: Dagger) -> None:
    """A build for GPUs begins on an engine that has none, or without its base image."""
    ran = dagger("call", "preflight", "--gpu")
    assert ran.returncode != 0
    assert "base image lmsysorg/sglang:v0.5.23: " in said(ran)
    assert "set image.sglang_version to a release that has an image" in said(ran)


def test_a_server_for_a_gpu_is_asked_for_and_refused_in_one_line(dagger: Dagger) -> None:
    """What a server for GPUs gets isn't what the engine takes, and nobody without one sees it."""
    ran = dagger("call", "image", "--gpu", "--container=python:3.11-slim", "serve", "ready")
    assert ran.returncode != 0
    assert "the server's container can't be started: it wants a GPU, and the engine gives" in said(
        ran
    )
