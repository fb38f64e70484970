"""A new kind of evidence: one file, which everything that handles evidence takes up."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]
TOY = """
from ci.release.kind import EvidenceKind, Table, judged


class Toy(EvidenceKind):
    name = "toy"
    predicate_type = "urn:example:toy:1"

    def make(self, making):
        return {"created": making.now.isoformat(), "sound": "quack"}

    def judge(self, piece, judging):
        yield judged("toy quacks", "" if piece.predicate["sound"] == "quack" else "it is silent")

    def tables(self, piece):
        yield Table("Toys", ("sound",), ((piece.predicate["sound"],),))


KIND = Toy()
"""
SCRIPT = """
from pathlib import Path

import ci
from ci.release.evidence import vulnerabilities
from ci.release.page import page_of, to_markdown
from tests.unit.releases import NOW, problems, released, settings
from tests.unit.test_release_publish import Shop, scan

assert Path(ci.__file__).is_relative_to(Path.cwd()), ci.__file__
vulnerabilities.scan = scan
with released(settings(test={"evidence": ["report", "record", "toy"]})) as release:
    shop = Shop(release, Path("layout"))
    shop.publish()
    assert "toy" in shop.kinds()
    assert "toy" in shop.evidence().of("record")[0].predicate["evidence"]
    release.image = shop.layout.manifest
    check = release.verify("test")
    assert not problems(check), problems(check)
    assert "toy quacks" in [case.name for case in check.cases]
    assert "| quack |" in to_markdown(page_of(release.judge()))
"""


def test_a_new_kind_is_one_file(tmp_path: Path) -> None:
    """Whoever adds a kind of evidence has to find every place that lists the others."""
    left = shutil.ignore_patterns("__pycache__", "tiny")
    shutil.copytree(ROOT / "ci", tmp_path / "ci", ignore=left)
    (tmp_path / "ci/release/evidence/toy.py").write_text(TOY)
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
