"""From a promotion to what runs on another host, and back: the registry stays with the caller."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from ci.deploy.demo import clear
from ci.deploy.grounds import Grounds
from ci.report.write import load
from ci.settings import load as read
from tests.fakes.launched import install
from tests.fakes.layout import image, write_tar
from tests.fakes.ssh import SshHost, ssh_host
from tests.readme import readme
from tests.unit.launching import free_port
from tests.unit.release_commands import LABELS, Workplace
from tests.unit.releases import key
from tests.unit.remote import CASE
from tests.unit.router_rigs import INSTALLED

pytestmark = [
    pytest.mark.unit,
    pytest.mark.skipif(not INSTALLED, reason="haproxy isn't installed"),
]
SETTINGS = """
[server]
device = "cpu"
stop_grace = 5
[smoke]
builtin = false
directories = ["cases"]
[environments.test.deploy]
host = "{host}"
command = "{python} -m ci"
port = {port}
grace = 20
folder = "{folder}"
"""


@pytest.fixture
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshHost]:
    """A host, with a fake SGLang installed on it."""
    folder = tmp_path_factory.mktemp("host")
    with ssh_host(folder) as host:
        host.environ |= install(folder / "installed")
        yield host


@pytest.fixture
def place(at: Workplace, host: SshHost, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workplace]:
    """A project whose environment `test` is on that host."""
    monkeypatch.setenv("DEPLOY_SSH_KEY", str(host.key))
    monkeypatch.setenv("DEPLOY_KNOWN_HOSTS", host.known)
    (at.folder / "cases").mkdir()
    (at.folder / "cases/test_own.py").write_text(CASE)
    file = at.folder / "sglang-ci.toml"
    text = file.read_text().replace("[registry]\n", f'[registry]\nrepository = "{at.reference}"\n')
    folder = host.folder / "state"
    more = SETTINGS.format(
        host=host.address, python=sys.executable, port=free_port(), folder=folder
    )
    file.write_text(text + more)
    yield at
    anyio.run(clear, grounds(at))


def grounds(at: Workplace) -> Grounds:
    """Return what the environment stands on, seen from its host."""
    return Grounds.of(read(at.folder / "sglang-ci.toml", {}).settings, "test")


def shown(at: Workplace, argv: list[str]) -> str:
    """Run a command of the README's, signed by `ci`, and return what it printed."""
    found, out, err = at.runner(argv[1:], at.variables | {"SIGNING_KEY": key("ci")[0]})
    assert found == 0, out + err
    return out + err


def running(at: Workplace) -> list[str]:
    """Return the references that run."""
    slots = anyio.run(grounds(at).looked).slots.values()
    return [slot.release.reference for slot in slots if slot.release and slot.proven]


@pytest.mark.long
def test_what_is_promoted_runs_there_and_goes_back(place: Workplace, host: SshHost) -> None:
    """Another digest runs there, nobody signs that, or a key or a password goes along."""
    at = place
    at.publish()
    first = at.by_digest
    at.run("promote", first, "--environment", "test", by="ci")
    assert f"start {first}" in shown(at, readme("sglang-ci deploy plan"))
    shown(at, readme("sglang-ci deploy --environment test"))
    assert running(at) == [first]
    names = [check.name for check in load(Path("report")).checks]
    assert names == ["policy test", "readiness", "versions", "smoke", "deploy", "record"]
    assert "### Deployments" in at.run("show", first)
    heard = bytes(host.heard)
    assert first.encode() in heard
    secret = key("ci")[0].splitlines()[1]
    for word in (secret, at.variables["REGISTRY_PASSWORD"], host.key.read_text().splitlines()[1]):
        assert word.encode() not in heard
    write_tar(Path("image.tar"), image([b"another"], labels=LABELS))
    second = ("publish", "image.tar", f"{at.reference}:second", "--report", "proof")
    at.run(*second, "--installed", "installed.json", by="ci")
    at.run("promote", at.by_digest, "--environment", "test", by="ci")
    shown(at, readme("sglang-ci rollback"))
    assert running(at) == [first]
    assert at.run("current", at.reference, "--environment", "test").strip() == first
