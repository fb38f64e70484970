"""The module deploys to a host that only this machine reaches: a registry, sshd, a fake SGLang."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import anyio
import pytest

from ci.deploy.demo import clear
from ci.deploy.grounds import Grounds
from ci.report.write import load
from ci.settings import load as read
from ci.verdict import Verdict
from tests.engine.conftest import run_dagger, said
from tests.fakes.launched import install
from tests.live.releases import House, built
from tests.live.sshd import SSHD, Sshd, sshd
from tests.reports import check_of
from tests.unit.launching import free_port
from tests.unit.releases import key
from tests.unit.router_rigs import INSTALLED

pytestmark = [
    pytest.mark.engine,
    pytest.mark.long,
    pytest.mark.skipif(not INSTALLED, reason="haproxy isn't installed"),
    pytest.mark.skipif(not SSHD, reason="openssh-server isn't installed"),
]
NAME = "gpu-01.example"
SETTINGS = """
[server]
device = "cpu"
stop_grace = 5
[smoke]
builtin = false
directories = ["cases"]
[environments.test.deploy]
host = "ssh://{user}@{name}:{port}"
command = "{command}"
port = {router}
folder = "{folder}"
grace = 20
"""
CASE = "def test_answers(ask):\n    assert ask.generate('a')\n"


@dataclass(frozen=True)
class Far:
    """A project that is released here, and deployed by the module to a host beside it."""

    house: House
    server: Sshd
    file: Path

    def asked(self, *words: str, key: bool = True) -> tuple[int, str]:
        """Ask an environment's function of the module; return exit code and output.

        Args:
            words: The function, and what follows it.
            key: Whether the host's key is passed.
        """
        house, keys = self.house, self.server.folder
        ran = run_dagger(
            "call",
            f"--config={keys / 'sglang-ci.toml'}",
            f"--trust={house.folder / 'keys'}",
            f"--smoke-cases={house.folder / 'cases'}",
            f"--registry=tcp://{house.running.address}",
            f"--username={house.access.username}",
            f"--password=file:{keys / 'password'}",
            f"--signing-key=file:{keys / 'ci.key'}",
            *("environment", "--name=test", f"--repository={house.reference}"),
            *((f"--ssh-key=file:{keys / 'user'}",) if key else ()),
            f"--known-hosts={keys / 'known_hosts'}",
            f"--host-service=tcp://localhost:{self.server.port}",
            *words,
        )
        return ran.returncode, said(ran)

    @property
    def grounds(self) -> Grounds:
        """What the environment stands on."""
        return Grounds.of(read(self.file, {}).settings, "test")


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Far]:
    """A project whose release is promoted to `test`, and the host of that."""
    folder = tmp_path_factory.mktemp("far")
    keys = folder / "keys"
    keys.mkdir()
    with sshd(keys) as server, built("docker", folder / "house") as house:
        (house.folder / "cases").mkdir()
        (house.folder / "cases/test_own.py").write_text(CASE)
        (keys / "password").write_text(house.access.password)
        (keys / "ci.key").write_text(key("ci")[0])
        known = (keys / "host.pub").read_text()
        (keys / "known_hosts").write_text(f"[{NAME}]:{server.port} {known}")
        there = folder / "there.sh"
        given = install(folder / "installed").items()
        words = [*(f"{name}={value}" for name, value in given), sys.executable, "-m", "ci"]
        there.write_text(f'#!/bin/sh\nexec env {shlex.join(words)} "$@"\n')
        there.chmod(0o755)
        file = house.folder / "sglang-ci.toml"
        more = SETTINGS.format(
            user=server.user,
            name=NAME,
            port=server.port,
            command=there,
            router=free_port(),
            folder=folder / "state",
        )
        file.write_text(file.read_text() + more)
        (keys / file.name).write_text(file.read_text().replace("keys/", "trust/"))
        house.run("promote", house.by_digest, "--environment", "test", by="ci")
        made = Far(house, server, file)
        yield made
        anyio.run(clear, made.grounds)


def test_the_module_deploys_to_a_host(far: Far, tmp_path: Path) -> None:
    """A pipeline can't bring out what it promoted, or doesn't see what runs."""
    code, told = far.asked("plan")
    assert code == 0, told
    assert f"start {far.house.by_digest}" in told
    code, told = far.asked("deploy", "directory", "export", f"--path={tmp_path / 'report'}")
    assert code == 0, told
    report = load(tmp_path / "report")
    assert report.verdict is Verdict.PASSED, report.cause
    names = [check.name for check in report.checks]
    assert names == ["policy test", "readiness", "versions", "smoke", "deploy", "record"]
    assert check_of(report, "smoke").cases[0].name.endswith("test_answers")
    code, told = far.asked("status")
    assert code == 0, told
    assert f"proven, {far.house.by_digest}" in told
    assert "### Deployments" in far.house.run("show", far.house.by_digest)


def test_without_a_key_the_call_fails_with_its_cure(far: Far) -> None:
    """A job is green where nobody was let in."""
    code, told = far.asked("deploy", key=False)
    assert code != 0
    assert "none of the keys is accepted" in told
