"""What keeps a host from being deployed to is one line with its cure, and never a secret's leak."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ci.concurrency import lock
from ci.deploy.grounds import LOCK
from ci.deploy.remote import call
from ci.report.write import load
from tests.fakes.ssh import SshHost, new_key, ssh_host
from tests.rare import rare
from tests.unit.commands import Command
from tests.unit.remote import ENVIRONMENT, Project, project

pytestmark = pytest.mark.unit
PYTHON = f"{sys.executable} -m ci"


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshHost]:
    """A host that lets one user in."""
    with ssh_host(tmp_path_factory.mktemp("host")) as host:
        yield host


@pytest.fixture
def far(
    command: Command, host: SshHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Project]:
    """A project whose environment is on that host, and a home folder of its own here."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    with project(tmp_path, host, command, monkeypatch) as made:
        yield made


def refused(far: Project, capsys: pytest.CaptureFixture[str], **settings: str) -> str:
    """Return the one line with which a status ends that can't be had."""
    capsys.readouterr()
    assert far.asked("deploy", "status", **settings) == 4
    told = capsys.readouterr().err.splitlines()
    assert told[-1].startswith(f"sglang-ci: {settings.get('host', far.host.address)}: "), told
    return told[-1]


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("ssh://deploy@127.0.0.1:1", "nothing listens there: start sshd"),
        ("ssh://deploy@nowhere.invalid", "its name has no address here"),
    ],
)
def test_nobody_there(
    far: Project, capsys: pytest.CaptureFixture[str], url: str, told: str
) -> None:
    """A host that is down, or misspelt, is a traceback."""
    assert told in refused(far, capsys, host=url)


def test_an_unknown_host_is_never_trusted(
    far: Project, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever stands between gets the order the first time, or in the place of a known host."""
    monkeypatch.setenv("DEPLOY_KNOWN_HOSTS", "other.example ssh-ed25519 AAAA")
    line = refused(far, capsys)
    assert "its host key is unknown, ssh-ed25519 SHA256:" in line
    assert f"ssh-keyscan -p {far.host.port} 127.0.0.1" in line
    new_key(far.folder / "other")
    known = far.host.known.rsplit(" ", 3)[0].split()[0]
    other = (far.folder / "other.pub").read_text()
    monkeypatch.setenv("DEPLOY_KNOWN_HOSTS", f"{known} {other}")
    assert "its host key has changed, to ssh-ed25519 SHA256:" in refused(far, capsys)
    assert not far.host.asked


def test_checks_of_host_keys_cant_be_turned_off(
    far: Project, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line of somebody's ssh configuration has any host trusted."""
    monkeypatch.delenv("DEPLOY_KNOWN_HOSTS")
    (far.folder / ".ssh").mkdir()
    config = far.folder / ".ssh/config"
    config.write_text("Host *\n  StrictHostKeyChecking no\n")
    assert "its host key is unknown" in refused(far, capsys)
    config.write_text("Host *\n  UserKnownHostsFile none\n")
    assert far.asked("deploy", "status") == 2
    assert "host keys are always checked" in capsys.readouterr().err


def test_no_key_is_accepted(
    far: Project, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It isn't said that the key is the cause, or a wrong variable reads as the host's fault."""
    new_key(far.folder / "other")
    monkeypatch.setenv("DEPLOY_SSH_KEY", str(far.folder / "other"))
    assert "none of the keys is accepted" in refused(far, capsys)
    monkeypatch.setenv("DEPLOY_SSH_KEY", "")
    assert "none of the keys is accepted" in refused(far, capsys)
    for wrong in ("nowhere/key", "-----BEGIN OPENSSH PRIVATE KEY-----\nplanted-key-7f3a\n"):
        monkeypatch.setenv("DEPLOY_SSH_KEY", wrong)
        assert far.asked("deploy", "status") == 2
        told = capsys.readouterr().err
        assert "DEPLOY_SSH_KEY" in told
        assert "planted-key" not in told


@pytest.mark.parametrize(
    ("program", "told"),
    rare(
        [
            ("/nowhere/sglang-ci", "can't be run there: "),
            ("echo 'Welcome!' #", "doesn't answer as sglang-ci does, but: Welcome!"),
            ("true #", "doesn't answer as sglang-ci does, but: nothing"),
            ("yes | head -c 199999 #", "doesn't answer as sglang-ci does"),
            (
                "echo \"Error: No such command 'there'.\" >&2; exit 2 #",
                "is an older sglang-ci there",
            ),
            ("echo sglang-ci deploy there 9.9 #", "has sglang-ci 9.9, and this is "),
            ("echo sglang-ci deploy there 0.1.0; read A; exit 9 #", "an answer (exit code 9)"),
            ("echo sglang-ci deploy there 0.1.0; head -c9 #", "its answer can't be read"),
        ],
        3,
    ),
)
def test_another_program_answers(
    far: Project, capsys: pytest.CaptureFixture[str], program: str, told: str
) -> None:
    """What a host lacks, or has otherwise, isn't said."""
    assert told in refused(far, capsys, command=program)


def test_another_version_gets_no_order(far: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """Secrets go to a program that nobody knows."""
    far.host.heard.clear()
    refused(far, capsys, command="echo sglang-ci deploy there 9.9; cat #")
    assert not far.host.heard


@pytest.mark.long
def test_a_profile_may_print(
    far: Project, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A greeting of the host's shell spoils the answer, or a terminal, or variables go along."""
    (far.folder / ".ssh").mkdir()
    config = "Host *\n  RequestTTY force\n  SendEnv PLANTED\n  SetEnv OTHER=planted\n"
    (far.folder / ".ssh/config").write_text(config)
    monkeypatch.setenv("PLANTED", "planted")
    far.host.profile = "echo Welcome to gpu-01!; printf 'no line feed'; echo mail >&2"
    assert far.asked("deploy", "status") == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("test at http://127.0.0.1:")
    assert "blue: absent" in captured.out
    assert not far.host.given


@pytest.mark.long
def test_nothing_can_be_written_there(far: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """A full disk of the host is a traceback, or a cut connection."""
    far.host.profile = "ulimit -f 0"
    line = refused(far, capsys)
    assert "No usable temporary directory found" in line
    assert "free some space there" in line


def test_what_goes_along_is_bounded(far: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder that nobody meant to send fills the host, or one that is missing is a traceback."""
    with (far.folder / "cases/weights.bin").open("wb") as file:
        file.truncate(17 << 20)
    assert far.asked("deploy", "status") == 2
    assert "more than 16 MiB can't go to another host" in capsys.readouterr().err
    assert far.command("deploy", "status", "-e", "test", "--set", "smoke.directories=['no']") == 2
    assert "smoke.directories" in capsys.readouterr().err


def test_a_host_that_falls_silent(
    far: Project, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program that hangs there is waited for without an end."""
    monkeypatch.setattr(call, "SILENCE", 1.0)
    silent = "echo sglang-ci deploy there 0.1.0; sleep 30 #"
    assert "says nothing for 1 s" in refused(far, capsys, command=silent)


@pytest.mark.parametrize(
    "url", ["gpu-01", "ssh://a:b@host", "ssh://", "ssh://h:port", "http://h", "ssh://h/x"]
)
def test_hosts_that_are_none(far: Project, url: str) -> None:
    """A password stands in a settings file, or a typing error deploys here."""
    assert far.asked("deploy", "status", host=url) == 2
    assert not far.host.asked[len(far.host.asked) :]


@pytest.mark.long
def test_who_waits_hears_that_somebody_deploys_there(far: Project) -> None:
    """A deployment that goes on over there is told as one that nobody goes on with."""
    folder = far.grounds.folder
    folder.mkdir(parents=True)
    with lock(folder / LOCK):
        assert far.command("deploy", "wait", *ENVIRONMENT, "--seconds", "0") == 3
    assert "a deployment goes on" in load(far.folder / "report").cause
