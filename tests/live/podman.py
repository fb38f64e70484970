"""A podman of a test's own: its settings and its storage lie in one folder, and go with it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.registries import Running

BASE = "localhost:5000/library/python:3.11-slim"
"""What test images rest on; a registry of this machine has it where podman is tried."""
HANG = 120.0
SERVER = """
import http.server, os, signal, sys

def say(line):
    print(line, flush=True)

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        known = self.path in ("/health", "/environ")
        body = repr(sorted(os.environ.items())).encode() if self.path == "/environ" else b""
        self.send_response(200 if known else 404)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

if os.environ.get("LAST_WORDS"):
    say(os.environ["LAST_WORDS"])
    sys.exit(3)
deaf = os.environ.get("DEAF")
signal.signal(signal.SIGTERM, signal.SIG_IGN if deaf else lambda *_: sys.exit(0))
server = http.server.ThreadingHTTPServer((os.environ["HOST"], int(os.environ["PORT"])), Handler)
say("The server is fired up and ready to roll! " + " ".join(sys.argv[1:]))
server.serve_forever()
"""
_CONTAINERS = """
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=32768:32768"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
"""
_REGISTRIES = """
unqualified-search-registries = []
[[registry]]
location = "localhost:5000"
insecure = true
"""


@dataclass(frozen=True)
class Podman:
    """A podman of its own.

    Args:
        folder: Has its settings and its storage.
    """

    folder: Path

    @property
    def variables(self) -> dict[str, str]:
        """What leads the command there."""
        return {
            "CONTAINERS_CONF": str(self.folder / "containers.conf"),
            "CONTAINERS_REGISTRIES_CONF": str(self.folder / "registries.conf"),
            "CONTAINERS_STORAGE_CONF": str(self.folder / "storage.conf"),
            "REGISTRY_AUTH_FILE": str(self.folder / "auth.json"),
        }

    def run(self, *words: str, check: bool = True) -> str:
        """Run it, and return what it says."""
        done = subprocess.run(
            ["podman", *words],
            env=os.environ | self.variables,
            capture_output=True,
            text=True,
            timeout=HANG,
            check=False,
        )
        assert not (check and done.returncode), done.stderr
        return done.stdout

    def pushed(self, registry: Running, word: str) -> str:
        """Build an image, push it, forget it here, and return its reference by digest."""
        place = self.folder / "image"
        place.mkdir(exist_ok=True)
        (place / "server.py").write_text(SERVER)
        lines = (f"FROM {BASE}", "COPY server.py /", f"LABEL word={word}")
        entry = 'ENTRYPOINT ["python", "/server.py"]'
        (place / "Containerfile").write_text("\n".join((*lines, entry)))
        name, file = str(registry.reference(tag=word)), self.folder / "digest"
        self.run("build", "--quiet", "--tag", name, str(place))
        access = registry.access
        login = [f"--creds={access.username}:{access.password}"] if access.username else []
        if access.ca_file:
            (self.folder / "trusted").mkdir(exist_ok=True)
            shutil.copy(access.ca_file, self.folder / "trusted/ca.crt")
        secure = [f"--cert-dir={self.folder / 'trusted'}"] if access.ca_file else []
        secure = secure or ["--tls-verify=false"]
        self.run("push", "--quiet", *login, *secure, f"--digestfile={file}", name)
        self.run("rmi", "--force", name)
        return str(registry.reference().at(file.read_text().strip()))


@contextmanager
def own_podman(folder: Path) -> Iterator[Podman]:
    """Yield a podman of its own; skip where there is none, or nothing to build images on."""
    if not shutil.which("podman"):
        pytest.skip("podman isn't installed")
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", 5000)):
            pytest.skip("no registry at localhost:5000 has the image that test images rest on")
    folder.mkdir()
    runtime = next((name for name in ("runc", "crun") if shutil.which(name)), "runc")
    (folder / "containers.conf").write_text(f'{_CONTAINERS}runtime = "{runtime}"\n')
    (folder / "registries.conf").write_text(_REGISTRIES)
    (folder / "auth.json").write_text("{}")
    (folder / "storage.conf").write_text(
        f'[storage]\ndriver = "overlay"\nrunroot = "{folder}/run"\ngraphroot = "{folder}/graph"\n'
    )
    podman = Podman(folder)
    try:
        yield podman
    finally:
        podman.run("rm", "--all", "--force", "--time", "0", check=False)
        podman.run("rmi", "--all", "--force", check=False)
        podman.run("system", "reset", "--force", check=False)
        shutil.rmtree(folder, ignore_errors=True)
