"""A stand-in for an installed SGLang, and ways to run `launch.sh` against it.

The interpreter and all checks are real; only the package `sglang` is a folder on
`PYTHONPATH` whose server tells what it was started with and then does as its flags say.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import pytest

from ci.platform.promise import ARGUMENTS, PARTS, SEAMS

LAUNCH = Path(__file__).parents[2] / "launch.sh"
VERSION = "0.5.23"
HANG = 30.0
"""Seconds after which a run counts as hung."""

SERVER = """
import json, os, signal, subprocess, sys
print(json.dumps({"argv": sys.argv[1:], "pid": os.getpid(), "environment": dict(os.environ)}))
print("a line on standard error", file=sys.stderr)
if "--stay" in sys.argv:
    import psutil
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    child = subprocess.Popen(["sleep", "60"])
    print("child", child.pid, flush=True)
    number = signal.sigwait([signal.SIGTERM])
    for process in psutil.Process().children(recursive=True):
        process.kill()
    print("ended by", int(number), flush=True)
    sys.exit(7)
"""
"""With `--stay` it ends as SGLang does on SIGTERM: it kills all of its descendants first."""


@dataclass(frozen=True)
class Place:
    """A folder with a stand-in SGLang, a model, and what a run needs of the environment.

    Args:
        root: The folder, empty at first.
        environment: All variables that `launch.sh` gets.
        command: What runs it; longer where privileges are dropped before.
    """

    root: Path
    environment: Mapping[str, str]
    command: tuple[str, ...] = (str(LAUNCH),)

    @property
    def model(self) -> Path:
        """The model's folder."""
        return self.root / "model"

    def having(self, **variables: str) -> Place:
        """Return this place with further variables."""
        return replace(self, environment={**self.environment, **variables})

    def lacking(self, *names: str) -> Place:
        """Return this place with variables unset."""
        kept = {name: value for name, value in self.environment.items() if name not in names}
        return replace(self, environment=kept)

    def powerless(self) -> Place:
        """Return this place for a user whom file modes and privileged ports bind.

        Root is stripped of what exempts it from both, and the test skipped where it can't be.
        """
        if os.geteuid() != 0:
            return self
        names = "-dac_override,-dac_read_search,-net_bind_service"
        drop = ("setpriv", f"--bounding-set={names}", f"--inh-caps={names}")
        if not shutil.which("setpriv") or subprocess.run([*drop, "true"], check=False).returncode:
            pytest.skip("this root can't drop its privileges")
        return replace(self, command=(*drop, *self.command))

    def run(self, *flags: str) -> subprocess.CompletedProcess[str]:
        """Run to the end."""
        return subprocess.run(
            [*self.command, *flags],
            env=dict(self.environment),
            cwd=self.root,
            capture_output=True,
            text=True,
            timeout=HANG,
            check=False,
        )

    @contextmanager
    def running(self, *flags: str) -> Iterator[subprocess.Popen[str]]:
        """Run in a process group of its own while the context lasts."""
        with subprocess.Popen(
            [*self.command, *flags],
            env=dict(self.environment),
            cwd=self.root,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as process:
            limit = threading.Timer(HANG, kill_group, (process.pid,))
            limit.start()
            try:
                yield process
            finally:
                limit.cancel()
                kill_group(process.pid)


def make_place(root: Path) -> Place:
    """Lay a stand-in SGLang, a model and a machine without GPU under `root`."""
    package, about = root / "site/sglang", root / f"site/sglang-{VERSION}.dist-info"
    for folder in (package, about, root / "bin", root / "model", root / "home"):
        folder.mkdir(parents=True)
    (package / "__init__.py").touch()
    for file, word in (*PARTS, (ARGUMENTS, f"def {SEAMS[0]}(self):")):
        (package / file).parent.mkdir(parents=True, exist_ok=True)
        (package / file).write_text(f"# {word}\n")
    with (package / "launch_server.py").open("a") as server:
        server.write(SERVER)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: sglang\nVersion: {VERSION}\n")
    (root / "model/config.json").write_text("{}")
    program(root / "bin/bare-python", f'exec {sys.executable} -S "$@"')
    program(root / "bin/nvidia-smi", "echo 'GPU 0: a stand-in (UUID: GPU-0)'")
    return Place(
        root,
        {
            "PATH": f"{root / 'bin'}:{os.environ['PATH']}",
            "HOME": str(root / "home"),
            "PYTHON": sys.executable,
            "PYTHONPATH": str(root / "site"),
            "MODEL_PATH": str(root / "model"),
            "PORT": str(free_port()),
            "CUDA_VISIBLE_DEVICES": "",
        },
    )


def with_command(place: Place) -> Place:
    """Return `place` with an interpreter of its own that has the command `sglang`."""
    home, package = place.root / "venv", place.root / "site/sglang/cli"
    (home / "bin").mkdir(parents=True)
    (home / "pyvenv.cfg").write_text(f"home = {Path(sys.executable).resolve().parent}\n")
    (home / "bin/python").symlink_to(Path(sys.executable).resolve())
    (home / "bin/sglang").write_text("from sglang.cli import serve\n")
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "serve.py").write_text(SERVER)
    known = f"{place.environment['PYTHONPATH']}:{sysconfig.get_path('purelib')}"
    return place.having(PYTHON=str(home / "bin/python"), PYTHONPATH=known)


def program(path: Path, body: str) -> None:
    """Write a shell script that can be run."""
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


def kill_group(group: int) -> None:
    """Send SIGKILL to a process group that may be gone."""
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


_PORTS = count(20_000 + os.getpid() % 10_000)
"""Below those that the kernel gives to connections, which may take one that was just free."""


def free_port() -> int:
    """Return a port that nobody listens on, and that nobody else of this process was given."""
    for port in _PORTS:
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("there is always another one")
