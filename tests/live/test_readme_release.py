"""What the README shows of releases, run as it stands there against a real registry."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ci.release.signing import new_key
from ci.report.model import Case, Check, Report
from ci.report.write import ReportFolder
from ci.verdict import Outcome
from tests.fakes.layout import image, write_tar
from tests.readme import ROOT, readme, run
from tests.registries import PASSWORD, USER, docker_registry

pytestmark = pytest.mark.live

PEOPLE = ("ci", "alice", "bob")
LABEL = "org.opencontainers.image"


def report_into(folder: Path) -> None:
    """Write a report of the three checks, each PASSED."""
    at, case = datetime.now(UTC), Case(name="x", outcome=Outcome.PASSED)
    checks = tuple(
        Check(name=name, started=at, seconds=1, cases=(case,))
        for name in ("readiness", "versions", "smoke")
    )
    with ReportFolder.open(folder) as opened:
        opened.write(Report(started=at, finished=at, checks=checks))


def installed_into(folder: Path) -> Path:
    """Write what is installed beside this test, as an image's own listing would say it."""
    script = ROOT / "ci" / "image" / "installed.py"
    listed = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    (folder / "installed.json").write_text(listed.stdout)
    return folder / "installed.json"


def test_from_publication_to_history(tmp_path: Path) -> None:
    """A reader who follows the page brings an image to production, with its settings."""
    settings = re.findall(r"```toml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    (tmp_path / "trust").mkdir()
    keys = {name: new_key() for name in PEOPLE}
    for name, (_, public) in keys.items():
        (tmp_path / "trust" / f"{name}.pub").write_text(public)
    config = next(text for text in settings if text.startswith("[trust]"))
    (tmp_path / "sglang-ci.toml").write_text(config + "\n[registry]\nplain_http = true\n")
    report_into(tmp_path / "report")
    labels = {f"{LABEL}.version": "0.5.23", f"{LABEL}.revision": "abc123"}
    tar = write_tar(tmp_path / "image.tar", image(labels=labels))
    with docker_registry(tmp_path, login=True) as registry:

        def ran(argv: list[str], by: str = "ci") -> str:
            done = run(
                tmp_path,
                argv,
                REGISTRY_USERNAME=USER,
                REGISTRY_PASSWORD=PASSWORD,
                SIGNING_KEY=keys[by][0],
            )
            assert done.returncode == 0, done.stdout + done.stderr
            return done.stdout

        here = {"registry.example": registry.address}
        repository = f"{registry.address}/team/sglang"
        ran(["sglang-ci", "release", "publish", str(tar), repository, "--report", "report",
             "--installed", str(installed_into(tmp_path))])  # fmt: skip
        assert "0.5.23" in ran(readme("sglang-ci release show", here))
        ran(
            readme(
                "sglang-ci release promote registry.example/team/sglang:0.5.23-abc123 "
                "--environment test",
                here,
            )
        )
        ran(readme("sglang-ci release approve", here), by="alice")
        ran(
            readme(
                "sglang-ci release promote registry.example/team/sglang:0.5.23-abc123 "
                "--environment prod",
                here,
            )
        )
        ran(readme("sglang-ci release verify", here))
        assert "sha256:" in ran(readme("sglang-ci release history", here))
