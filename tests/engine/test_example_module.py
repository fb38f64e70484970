"""Another project's module that installs this one, on a real engine."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from ci.platform import TINY_MODEL
from ci.report.write import load
from ci.verdict import Verdict
from tests.engine.conftest import ROOT, copy_project, run_dagger, said
from tests.readme import readme
from tests.reports import check_of

pytestmark = [pytest.mark.engine, pytest.mark.long]


def project(folder: Path) -> Path:
    """Return the example as a project of its own, which holds a copy of this one."""
    copy_project(folder / "sglang-ci")
    subprocess.run(["git", "init", "--quiet", folder], check=True)
    example = shutil.copytree(ROOT / "examples" / "module", folder / "menu")
    described = json.loads((example / "dagger.json").read_text())
    del described["dependencies"]
    (example / "dagger.json").write_text(json.dumps(described))
    return example


def test_example_installs_and_proves(tmp_path: Path) -> None:
    """A project that installs the module gets its own model, cases and stage proven."""
    example = project(tmp_path / "project")
    installed = run_dagger("install", "../sglang-ci", folder=example)
    assert installed.returncode == 0, said(installed)
    model = shutil.copytree(TINY_MODEL, tmp_path / "model")
    config = json.loads((model / "config.json").read_text()) | {"num_hidden_layers": 3}
    (model / "config.json").write_text(json.dumps(config))
    report = tmp_path / "report"
    own = {
        "-m examples/module ": "",
        "ci/platform/tiny": str(model),
        "--path report": f"--path {report}",
    }
    ran = run_dagger(*readme("dagger call -m examples/module", own)[1:], folder=example)
    assert ran.returncode == 0, said(ran)
    assert (report / "starter.txt").read_text().strip() in {"soup", "salad"}
    found = load(report)
    assert found.verdict is Verdict.PASSED
    assert sum("dish" in case.name for case in check_of(found, "smoke").cases) == 2
