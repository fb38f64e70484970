"""A Docker daemon of a test's own: its socket and all that it keeps lie in one folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.live.podman import BASE, HANG, SERVER
from tests.registries import Running

BRIDGE = Path("/sys/class/net/docker0")


@dataclass(frozen=True)
class Docker:
    """A daemon of its own.

    Args:
        folder: Has its socket and its storage.
    """

    folder: Path

    @property
    def variables(self) -> dict[str, str]:
        """What leads the command there."""
        return {
            "DOCKER_HOST": f"unix://{self.folder / 'socket'}",
            "DOCKER_CONFIG": str(self.folder / "config"),
            "DOCKER_BUILDKIT": "0",
        }

    def run(self, *words: str, check: bool = True) -> str:
        """Run the command, and return what it says."""
        done = subprocess.run(
            ["docker", *words],
            env=os.environ | self.variables,
            capture_output=True,
            text=True,
            timeout=HANG,
            check=False,
        )
        assert not (check and done.returncode), done.stderr
        return done.stdout

    def pushed(self, registry: Running) -> str:
        """Build an image, push it, forget it here, and return its reference by digest."""
        place, name = self.folder / "image", str(registry.reference(tag="good"))
        place.mkdir()
        (place / "server.py").write_text(SERVER)
        entry = 'ENTRYPOINT ["python", "/server.py"]'
        (place / "Dockerfile").write_text(f"FROM {BASE}\nCOPY server.py /\n{entry}\n")
        self.run("build", "--quiet", "--tag", name, str(place))
        access = registry.access
        login = (f"--username={access.username}", f"--password={access.password}")
        self.run("login", *login, registry.address)
        self.run("push", name)
        named = self.run("inspect", "--format", "{{index .RepoDigests 0}}", name).strip()
        self.run("logout", registry.address)
        self.run("rmi", "--force", name, named, check=False)
        return named


@contextmanager
def own_docker(folder: Path) -> Iterator[Docker]:
    """Yield a daemon of its own; skip where none can be started beside what is there."""
    if not (shutil.which("dockerd") and shutil.which("docker")) or os.geteuid():
        pytest.skip("dockerd isn't installed, or this user may not start it")
    if BRIDGE.exists():
        pytest.skip("another dockerd has the network interface docker0")
    folder.mkdir()
    argv = [
        *("dockerd", "--data-root", f"{folder}/data", "--exec-root", f"{folder}/exec"),
        *("--pidfile", f"{folder}/pid", "--host", f"unix://{folder / 'socket'}"),
        *("--iptables=false", "--ip-forward=false", "--ip-masq=false"),
    ]
    docker = Docker(folder)
    with (folder / "log").open("wb") as log:
        daemon = subprocess.Popen(argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + HANG
        while not docker.run("version", "--format", "{{.Server.Version}}", check=False).strip():
            assert daemon.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.2)
        yield docker
        docker.run("system", "prune", "--all", "--force")
    finally:
        daemon.terminate()
        daemon.wait(HANG)
        subprocess.run(["ip", "link", "delete", BRIDGE.name], check=False, capture_output=True)
        shutil.rmtree(folder, ignore_errors=True)
