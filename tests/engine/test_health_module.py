"""Servers that the module hurts in containers of their own: what passes, what fails, what ships."""

from __future__ import annotations

from pathlib import Path

import pytest

from ci.report.write import load
from ci.verdict import Outcome, Verdict
from tests.engine.conftest import Dagger, said

pytestmark = [pytest.mark.engine, pytest.mark.long]

DEADLY = """
[health]
faults = ["scheduler killed", "detokenizer killed"]
"""
SGLANG_ALONE = """
[drain]
scenarios = ["long streams"]
grace = 10

[server.environment]
DRAIN_SECONDS = ""
"""


def written(folder: Path, settings: str) -> str:
    """Return a settings file."""
    file = folder / "sglang-ci.toml"
    file.write_text(settings)
    return str(file)


def test_health_has_a_fresh_server_for_each_deadly_fault(dagger: Dagger, tmp_path: Path) -> None:
    """A good image fails, or its second death is that of a server that was dead already."""
    at, kept = written(tmp_path, DEADLY), tmp_path / "kept"
    asked = ("image", "serve", "health", "directory", "export", f"--path={kept}")
    ran = dagger("call", "--config", at, *asked)
    assert ran.returncode == 0, said(ran)
    (check,) = load(kept).checks
    assert (check.name, check.verdict) == ("health", Verdict.PASSED), check.cause
    assert [phase.name for phase in check.phases] == ["scheduler killed", "detokenizer killed"]
    assert {case.outcome for case in check.cases} == {Outcome.PASSED}
    assert (kept / "truth.md").is_file()


def test_drain_that_cuts_streams_fails(dagger: Dagger, tmp_path: Path) -> None:
    """An image that loses what it accepted goes on to production."""
    ran = dagger("call", "--config", written(tmp_path, SGLANG_ALONE), "image", "serve", "drain")
    assert ran.returncode != 0
    assert "FAILED: drain: long streams: every accepted stream has its final event" in said(ran)
    assert "streams were cut" in said(ran)


def test_what_is_published_has_no_fault_agent(dagger: Dagger) -> None:
    """A released image brings what kills its server, or is one that starts under it."""
    image = ("call", "image", "container")
    assert dagger(*image, "entrypoint").stdout.split() == ["/usr/local/bin/launch.sh"]
    sought = ("find", "/", "-xdev", "-path", "*/ci/health/*agent*")
    run = ("with-user", "--name=root", "with-exec", f"--args={','.join(sought)}")
    found = dagger(*image, *run, "stdout")
    assert found.returncode == 0, said(found)
    assert not found.stdout.strip()
