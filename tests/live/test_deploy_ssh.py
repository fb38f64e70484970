"""A deployment to another host on real parts: OpenSSH's server, HAProxy and SGLang on the CPU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from ci.deploy.demo import clear
from ci.deploy.grounds import Grounds
from ci.report.write import load
from ci.settings import load as read
from ci.verdict import Verdict
from tests.live.sshd import SSHD, sshd
from tests.reports import check_of
from tests.unit.launching import free_port
from tests.unit.router_rigs import INSTALLED

pytestmark = [
    pytest.mark.live,
    pytest.mark.long,
    pytest.mark.skipif(not INSTALLED, reason="haproxy isn't installed"),
    pytest.mark.skipif(not SSHD, reason="openssh-server isn't installed"),
]
SETTINGS = """
[server]
device = "cpu"
[smoke]
select = "greedy or chat"
[environments.test.deploy]
host = "{host}"
command = "{command}"
folder = "{folder}"
port = {port}
"""


def test_sglang_on_another_host(tmp_path: Path) -> None:
    """The order, the events or the answer don't survive a real sshd, or a real start."""
    (tmp_path / "keys").mkdir()
    project = tmp_path / "project"
    project.mkdir()
    command = Path(sys.executable).with_name("sglang-ci")
    with sshd(tmp_path / "keys") as server:
        text = SETTINGS.format(
            host=server.address, command=command, folder=tmp_path / "there", port=free_port()
        )
        (project / "sglang-ci.toml").write_text(text)

        def ran(*words: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [command, *words, "--environment", "test"],
                cwd=project,
                env=os.environ | server.variables,
                capture_output=True,
                text=True,
                timeout=900,
                check=False,
            )

        try:
            deployed = ran("deploy")
            assert deployed.returncode == 0, deployed.stdout + deployed.stderr
            report = load(project / "report")
            assert report.verdict is Verdict.PASSED
            assert len(check_of(report, "smoke").cases) > 2
            last = check_of(report, "deploy").cases[-1]
            assert last.name == "the release answers through the router"
            again = ran("deploy")
            assert again.returncode == 0, again.stdout
            assert not check_of(load(project / "report"), "deploy").phases
            told = ran("deploy", "status").stdout
            assert told.count(": up since") == told.count(", proven, ") == 1
            assert "share 100 of 100" in told
        finally:
            settings = read(project / "sglang-ci.toml", {}).settings
            anyio.run(clear, Grounds.of(settings, "test"))
