"""What the README shows, run as it stands there: the commands that need an engine."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import httpx
import pytest

from ci.platform import TINY_MODEL
from ci.report.write import load
from ci.verdict import Verdict
from tests.engine.conftest import HANG, ROOT, run_dagger, said
from tests.readme import readme

pytestmark = pytest.mark.engine


def test_ci() -> None:
    """The one command a newcomer with Docker types passes."""
    ran = run_dagger(*readme("dagger call ci")[1:])
    assert ran.returncode == 0, said(ran)
    assert "PASSED" in ran.stdout


def test_own_settings_and_model_keep_the_report(tmp_path: Path) -> None:
    """A reader's model and settings are what is proven, and the report is where they want it."""
    model = shutil.copytree(TINY_MODEL, tmp_path / "my-model")
    config = tmp_path / "sglang-ci.toml"
    config.write_text('[model]\nserved_name = "mine"\n[smoke]\nselect = "greedy"\n')
    own = {"./my-model": str(model), "sglang-ci.toml": str(config)}
    argv = readme("dagger call --config sglang-ci.toml", own)
    argv[argv.index("report")] = str(tmp_path / "report")
    ran = run_dagger(*argv[1:])
    assert ran.returncode == 0, said(ran)
    report = load(tmp_path / "report")
    assert report.verdict is Verdict.PASSED
    assert [check.name for check in report.checks] == ["readiness", "versions", "smoke"]
    kept = run_dagger("call", "verdict", f"--report={tmp_path / 'report'}")
    assert kept.stdout.strip() == "PASSED", said(kept)


def test_check() -> None:
    """The module's check proves the image."""
    ran = run_dagger(*readme("dagger check")[1:])
    assert ran.returncode == 0, said(ran)


def test_up(tmp_path: Path) -> None:
    """The server answers on a port of this host, until the command is interrupted."""
    argv = readme("dagger up")
    with (tmp_path / "output").open("w") as output:
        process = subprocess.Popen(
            argv, cwd=ROOT, stdout=output, stderr=output, stdin=subprocess.DEVNULL, env=os.environ
        )
        try:
            assert _answers(process), (tmp_path / "output").read_text()[-4000:]
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(HANG)


def _answers(process: subprocess.Popen[bytes]) -> bool:
    """Return whether a token comes from port 30000 before the process ends."""
    deadline = time.monotonic() + HANG
    request = {"text": "a", "sampling_params": {"max_new_tokens": 1}}
    while process.poll() is None and time.monotonic() < deadline:
        try:
            answer = httpx.post("http://localhost:30000/generate", json=request, timeout=30)
        except httpx.TransportError:
            time.sleep(1)
            continue
        if answer.status_code == httpx.codes.OK:
            return True
        time.sleep(1)
    return False
