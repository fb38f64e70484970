"""What the README shows, run as it stands there: the commands that need an engine."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import httpx
import pytest

from tests.engine.conftest import HANG, ROOT, run_dagger, said
from tests.readme import readme

pytestmark = pytest.mark.engine


def test_ci() -> None:
    """The one command a newcomer with Docker types passes."""
    ran = run_dagger(*readme("dagger call ci")[1:])
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
