"""OpenSSH's own server on loopback, for whoever runs the tests."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.fakes.ssh import new_key
from tests.unit.launching import free_port

SSHD = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
CONFIG = """
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host
AuthorizedKeysFile {folder}/user.pub
PidFile none
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
StrictModes no
UsePAM no
"""


@dataclass(frozen=True)
class Sshd:
    """A server.

    Args:
        folder: Holds its keys, `user` among them, which it lets in.
        port: Its port.
    """

    folder: Path
    port: int

    @property
    def address(self) -> str:
        """What the settings name."""
        return f"ssh://{self.user}@127.0.0.1:{self.port}"

    @property
    def user(self) -> str:
        """Who is let in."""
        return getpass.getuser()

    @property
    def variables(self) -> dict[str, str]:
        """The variables by which it is deployed to."""
        known = f"[127.0.0.1]:{self.port} {(self.folder / 'host.pub').read_text()}"
        key = (self.folder / "user").read_text()
        return {"DEPLOY_SSH_KEY": key, "DEPLOY_KNOWN_HOSTS": known}


@contextmanager
def sshd(folder: Path) -> Iterator[Sshd]:
    """Run a server while the context lasts."""
    assert SSHD
    for name in ("host", "user"):
        new_key(folder / name)
        (folder / name).chmod(0o600)
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    port = free_port()
    config = folder / "sshd_config"
    config.write_text(CONFIG.format(port=port, folder=folder))
    with (folder / "sshd.log").open("wb") as log:
        server = subprocess.Popen([SSHD, "-D", "-e", "-f", str(config)], stderr=log)
    try:
        _up(port)
        yield Sshd(folder, port)
    finally:
        server.terminate()
        server.wait(10)


def _up(port: int) -> None:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError("sshd doesn't listen")
