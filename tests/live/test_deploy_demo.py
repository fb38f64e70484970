"""The demonstration of a deployment, as a newcomer runs it: real servers, a real HAProxy."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from ci.report.write import load
from ci.verdict import Verdict
from tests.readme import ROOT, readme
from tests.reports import check_of
from tests.unit.router_rigs import INSTALLED

pytestmark = [
    pytest.mark.live,
    pytest.mark.long,
    pytest.mark.skipif(not INSTALLED, reason="haproxy isn't installed"),
]


def test_deploy_demo(tmp_path: Path) -> None:
    """A switch loses a stream, or a bad release keeps its traffic."""
    argv = [*readme("make deploy-demo"), f"ARGS=--report-dir {tmp_path}"]
    ran = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)
    assert ran.returncode == 0, ran.stdout[-4000:]
    report = load(tmp_path)
    assert report.verdict is Verdict.PASSED
    titles = [plot.title for plot in check_of(report, "streams").plots]
    assert titles[0] == "Shares of new requests"
    assert len(titles) == 3
