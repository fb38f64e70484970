"""The demonstration of a deployment in a container of the image: real servers, a real HAProxy."""

from __future__ import annotations

from pathlib import Path

import pytest

from ci.report.write import load
from ci.verdict import Verdict
from tests.engine.conftest import run_dagger, said
from tests.readme import readme
from tests.reports import check_of

pytestmark = [pytest.mark.engine, pytest.mark.long]


def test_deploy_demo(tmp_path: Path) -> None:
    """HAProxy can't be had in the image, a switch loses a stream, or no page is left of it."""
    argv = readme("dagger call deploy-demo", {"--path=report": f"--path={tmp_path}"})
    ran = run_dagger(*argv[1:])
    assert ran.returncode == 0, said(ran)
    report = load(tmp_path)
    assert report.verdict is Verdict.PASSED
    plots = check_of(report, "streams").plots
    assert plots[0].title == "Shares of new requests"
    assert (tmp_path / "index.html").exists()
