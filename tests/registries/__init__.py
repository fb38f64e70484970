"""Real registries for tests, each started on a free port of this host for as long as needed.

`docker_registry` has no referrers API, `referrers_registry` has one; neither honours
`If-Match`. Where one can't be had here, the test that asks for it is skipped, with the reason.
The fake of known behaviour and of every fault is `tests.fakes.registry`.
"""

from __future__ import annotations

import atexit
import functools
import json
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from ci.registry.access import Access
from ci.registry.reference import Reference
from tests.fakes.faulty import closed_port, self_signed
from tests.fakes.registry import PASSWORD, USER

__all__ = ["PASSWORD", "USER", "Running", "docker_registry", "referrers_registry"]

HTPASSWD = f"{USER}:$2b$05$abcdefghijklmnopqrstuu2QS/pfCHE3/zPOt6O3Zor/Sj2j9rTlG\n"
"""`PASSWORD` as registries keep it."""
HANG = 30.0
BUILD_HANG = 300.0


@dataclass(frozen=True)
class Running:
    """A registry that runs: its host and port, and how to reach it."""

    address: str
    access: Access
    log: Path

    def reference(self, repository: str = "team/image", tag: str = "") -> Reference:
        """Return a reference into it."""
        return Reference(self.address, repository, tag)


@contextmanager
def docker_registry(
    folder: Path, *, tls: bool = False, login: bool = False, storage: Path | None = None
) -> Iterator[Running]:
    """Yield Debian's `docker-registry`.

    Args:
        folder: Where its configuration, its log and, without `storage`, its blobs go.
        tls: Whether it speaks TLS, with a certificate of its own in `access.ca_file`.
        login: Whether it wants `USER` and `PASSWORD`.
        storage: Folder of its blobs.
    """
    program = shutil.which("docker-registry")
    if program is None:
        pytest.skip("docker-registry isn't installed")
    port = closed_port()
    configuration = _configuration(folder, port, storage or folder / "storage")
    access = Access(plain_http=not tls, timeout=10, attempts=3)
    if tls:
        self_signed(folder)
        files = {"certificate": "certificate.pem", "key": "key.pem"}
        configuration["http"]["tls"] = {key: str(folder / name) for key, name in files.items()}
        access = replace(access, ca_file=folder / "certificate.pem")
    if login:
        (folder / "htpasswd").write_text(HTPASSWD)
        configuration["auth"] = {
            "htpasswd": {"realm": "registry", "path": str(folder / "htpasswd")}
        }
        access = replace(access, username=USER, password=PASSWORD)
    (folder / "registry.yml").write_text(json.dumps(configuration))
    argv = [program, "serve", str(folder / "registry.yml")]
    with _running(argv, port, folder / "registry.log"):
        yield Running(f"127.0.0.1:{port}", access, folder / "registry.log")


def _configuration(folder: Path, port: int, storage: Path) -> dict[str, Any]:
    return {
        "version": "0.1",
        "log": {"accesslog": {"disabled": False}},
        "storage": {"filesystem": {"rootdirectory": str(storage)}, "delete": {"enabled": True}},
        "http": {"addr": f"127.0.0.1:{port}", "secret": folder.name},
    }


@contextmanager
def referrers_registry(folder: Path) -> Iterator[Running]:
    """Yield a registry of go-containerregistry, which implements the referrers API.

    It keeps everything in memory.
    """
    program, problem = _built()
    if problem:
        pytest.skip(problem)
    port = closed_port()
    log = folder / "referrers.log"
    with _running([str(program), f"127.0.0.1:{port}"], port, log):
        yield Running(f"127.0.0.1:{port}", Access(plain_http=True, timeout=10, attempts=3), log)


@functools.cache
def _built() -> tuple[Path, str]:
    """Return the program, and why there is none."""
    folder = Path(tempfile.mkdtemp(prefix="sglang-ci-registry-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    go = shutil.which("go")
    if go is None:
        return folder, "the registry with the referrers API needs go, which isn't installed"
    program, source = folder / "registry", Path(__file__).parent / "referrers"
    done = subprocess.run(
        [go, "build", "-buildvcs=false", "-o", str(program), "."],
        cwd=source,
        capture_output=True,
        text=True,
        timeout=BUILD_HANG,
        check=False,
    )
    why = (done.stderr.strip().splitlines() or ["unknown"])[-1]
    return program, f"the registry with the referrers API can't be built: {why}" * (
        done.returncode != 0
    )


@contextmanager
def _running(argv: Sequence[str], port: int, log: Path) -> Iterator[None]:
    """Run a server until the end of the context, from when it listens on."""
    with log.open("wb") as output:
        process = subprocess.Popen(argv, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + HANG
        while not _listens(port):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)
        yield
    finally:
        process.kill()
        process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
