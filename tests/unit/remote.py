"""A project whose environment is on another host, behind a real SSH server on loopback."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import pytest

from ci.deploy.demo import clear
from ci.deploy.grounds import Grounds
from ci.report.model import Report
from ci.report.write import load
from ci.settings import load as read
from tests.fakes.launched import install
from tests.fakes.ssh import SshHost
from tests.unit.commands import Command
from tests.unit.launching import free_port

ENVIRONMENT = ("--environment", "test")
SECRET = "planted-token-7f3a91"
CASE = "def test_answers(ask):\n    assert ask.generate('a')\n"
SETTINGS = """
[server]
device = "cpu"
stop_grace = 5
environment = {{ PLANTED_TOKEN = "{secret}" }}
[smoke]
builtin = false
directories = ["cases"]
[readiness]
port_open = 60
[environments.test.deploy]
host = "{host}"
command = "{python} -m ci"
port = {port}
grace = 20
"""


@dataclass(frozen=True)
class Project:
    """A project, and the host on which its environment is.

    Args:
        folder: Its folder.
        host: The host.
        command: Runs a command in that folder.
    """

    folder: Path
    host: SshHost
    command: Command

    def asked(self, *words: str, **settings: str) -> int:
        """Ask for something by further settings of the environment's; return the exit code."""
        given = [f"environments.test.deploy.{name}={text}" for name, text in settings.items()]
        flags = [part for flag in given for part in ("--set", flag)]
        return self.command(*words, *ENVIRONMENT, *flags)

    def deployed(self, release: str = "one") -> tuple[int, Report]:
        """Deploy a release; return exit code and report."""
        environment = f'server.environment={{RELEASE="{release}", PLANTED_TOKEN="{SECRET}"}}'
        code = self.command("deploy", *ENVIRONMENT, "--set", environment)
        return code, load(self.folder / "report")

    @property
    def grounds(self) -> Grounds:
        """What the environment stands on, seen from the host."""
        return Grounds.of(read(self.folder / "there.toml", {}).settings, "test")


@contextmanager
def project(
    folder: Path, host: SshHost, command: Command, patch: pytest.MonkeyPatch
) -> Iterator[Project]:
    """Make a project in a folder; what then runs on the host is ended afterwards."""
    patch.setenv("DEPLOY_SSH_KEY", host.key.read_text())
    patch.setenv("DEPLOY_KNOWN_HOSTS", host.known)
    (folder / "cases").mkdir()
    (folder / "cases/test_own.py").write_text(CASE)
    with tempfile.TemporaryDirectory(prefix="host-") as home:
        host.home = Path(home)
        host.environ |= install(host.home / "installed")
        text = SETTINGS.format(
            secret=SECRET, host=host.address, python=sys.executable, port=free_port()
        )
        (folder / "sglang-ci.toml").write_text(text)
        there = f'{text}folder = "{home}/.sglang-ci"\n'
        (folder / "there.toml").write_text(there)
        made = Project(folder, host, command)
        try:
            yield made
        finally:
            host.profile = ""
            anyio.run(clear, made.grounds)
