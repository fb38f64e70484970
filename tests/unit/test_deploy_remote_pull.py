"""A registry's password reaches a host for one pull, and lies nowhere on it afterwards."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from ci.deploy.remote.errand import Errand
from ci.deploy.wanted import Wanted
from ci.deploy.world import Release
from ci.registry.access import Access
from ci.report.console import PlainProgress
from ci.report.model import Report
from ci.settings import load
from ci.stages import Stages
from tests.fakes.ssh import ssh_host
from tests.reports import check_of
from tests.unit.commands import Command
from tests.unit.remote import Project, project
from tests.unit.router_rigs import INSTALLED

pytestmark = [
    pytest.mark.unit,
    pytest.mark.skipif(not INSTALLED, reason="haproxy isn't installed"),
]
PASSWORD = "planted-password-4e8f"
BASIC = "bWU6cGxhbnRlZC1wYXNzd29yZC00ZThm"
SECRETS = (PASSWORD, BASIC)
RELEASE = Release(f"sha256:{'a' * 64}", f"registry.invalid/name@sha256:{'a' * 64}", "0.5.23")
PODMAN = """#!/bin/sh
echo "$@" >> "$HOME/asked"
case "$1" in
pull) shift; for word; do [ -f "$word" ] && cat "$word" > "$HOME/seen"; done ;;
esac
case "$1 $2" in
"image inspect") exit 1 ;;
esac
[ -z "$(cat "$HOME/seen" 2>/dev/null)" ] || exit 125
"""
"""Pulls as podman does, as far as its caller sees that, and fails from then on."""


@pytest.fixture
def far(
    command: Command,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Project]:
    """A project whose environment runs containers on another host."""
    folder = tmp_path_factory.mktemp("host")
    with ssh_host(folder) as host, project(tmp_path, host, command, monkeypatch) as made:
        (folder / "podman").write_text(PODMAN)
        (folder / "podman").chmod(0o755)
        host.environ["TMPDIR"] = str(host.home)
        host.environ["PATH"] = f"{folder}:{host.environ['PATH']}"
        yield made


def deployed(far: Project, release: Release | None) -> Report:
    """Deploy a release as a registry's user; return what was found."""
    flags = {"environments.test.deploy.target": "container"}
    settings = load(far.folder / "sglang-ci.toml", {}, flags).settings
    errand = Errand.of(settings, "test", [far.folder], os.environ)
    pulls = Access(username="me", password=PASSWORD)

    async def run() -> Report:
        with (far.folder / "told").open("w") as file:
            stages = Stages(PlainProgress(file), far.folder)

            async def work() -> None:
                await errand.deploy(stages, Wanted(release), pulls, 0)

            return await stages.report(work)

    return anyio.run(run)


@pytest.mark.long
def test_a_password_is_there_for_one_pull(far: Project) -> None:
    """The host pulls as nobody, or a password stays on its disk, in an argument or in a log."""
    report = deployed(far, RELEASE)
    home = far.host.home
    assert BASIC in (home / "seen").read_text()
    (home / "seen").unlink()
    assert "pull --quiet --authfile " in (home / "asked").read_text()
    left = [
        path
        for folder in (home, far.folder)
        for path in folder.rglob("*")
        if path.is_file() and any(word in path.read_text(errors="replace") for word in SECRETS)
    ]
    assert not left
    assert not list(home.glob("sglang-ci-there-*"))
    assert check_of(report, "deploy").cause
    assert not any(word in str(report) + str(far.host.asked) for word in SECRETS)


@pytest.mark.long
def test_an_abort_takes_no_password_along(far: Project) -> None:
    """A password goes where nothing is pulled."""
    deployed(far, None)
    assert b'"does":"deploy"' in bytes(far.host.heard)
    assert PASSWORD.encode() not in bytes(far.host.heard)
