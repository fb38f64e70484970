"""What goes to another host: the caller's own files and the order, and no more."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from ci.commands.remote import grounds_of
from ci.deploy.remote import luggage
from ci.deploy.remote.connection import SshAccess
from ci.deploy.remote.order import Order
from ci.deploy.world import Release
from ci.errors import UsageError
from ci.settings import Settings, load
from ci.settings.paths import moved, named
from tests.unit.settings_layers import file_of

pytestmark = pytest.mark.unit

PROJECT = """
[model]
path = "models/tiny"
[engine]
python = "python3"
[smoke]
directories = ["one", "two"]
[bench]
prompts = "prompts.jsonl"
[registry]
ca_file = "ca.pem"
[trust]
keys = { inline = "-----BEGIN PUBLIC KEY-----", file = "trust/a.pub" }
[vulnerabilities]
allow = [{ id = "CVE-2026-1", until = 2030-01-02, reason = "known" }]
[environments.test.deploy]
host = "ssh://deploy@gpu-01.example:22"
folder = "state"
[environments.prod.deploy]
folder = "/var/lib/sglang-ci"
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings of a project that name every kind of path."""
    for name in ("one", "two/below"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "test_own.py").write_text(f"# {name}\n")
    (tmp_path / "one/__pycache__").mkdir()
    (tmp_path / "one/__pycache__/x.pyc").write_text("x")
    (tmp_path / "prompts.jsonl").write_text("{}\n")
    (tmp_path / "ca.pem").write_text("certificates\n")
    return load(file_of(tmp_path, PROJECT)).settings


def test_own_files_go_along_and_the_hosts_stay(tmp_path: Path, settings: Settings) -> None:
    """The model's weights go, cases don't, or the host looks for a path of this machine."""
    own = luggage.there(settings, [tmp_path])
    sent, content = luggage.pack(own)
    order = Order(
        version="1", does="look", environment="test", settings=sent.model_dump(mode="json")
    )
    came = Settings.model_validate(Order.model_validate_json(order.line()).settings)
    there = luggage.unpack(came, content, tmp_path / "host")
    staying = [one.path for one in named(there) if not one.mark.travels]
    assert not [path for path in staying if path.is_relative_to(tmp_path)]
    assert str(there.model.path) == "models/tiny"
    assert str(there.environments["test"].deploy.folder) == "state"
    assert str(there.environments["prod"].deploy.folder) == "/var/lib/sglang-ci"
    one, two = there.smoke.directories
    assert one.is_relative_to(tmp_path / "host")
    assert sorted(path.name for path in one.iterdir()) == ["test_own.py"]
    assert (two / "below/test_own.py").read_text() == "# two/below\n"
    assert there.bench.prompts
    assert there.bench.prompts.read_text() == "{}\n"
    assert there.registry.ca_file
    assert there.registry.ca_file.read_text() == "certificates\n"
    assert there.vulnerabilities == settings.vulnerabilities
    assert there.trust.keys["inline"] == settings.trust.keys["inline"]


def test_settings_stay_what_they_are(settings: Settings) -> None:
    """A value changes on its way."""
    assert moved(settings, lambda _, path: path) == settings


def test_nothing_goes_where_nothing_is(tmp_path: Path) -> None:
    """Every deployment sends a tar."""
    assert luggage.pack(Settings())[1] == b""


def test_devices_stay_here(tmp_path: Path, settings: Settings) -> None:
    """A pipe in a folder of cases is waited for without an end."""
    os.mkfifo(tmp_path / "one/pipe")
    _, content = luggage.pack(settings)
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        assert not [name for name in tar.getnames() if "pipe" in name]


def test_variables_are_contents_or_paths(tmp_path: Path) -> None:
    """A file that a CI puts a secret into is taken for the key itself."""
    pem = "-----BEGIN OPENSSH PRIVATE KEY-----\nabc\n-----END OPENSSH PRIVATE KEY-----"
    (tmp_path / "key").write_text(pem)
    for given in (pem, f"{pem}\n", str(tmp_path / "key")):
        assert SshAccess.of({"DEPLOY_SSH_KEY": given}).key == f"{pem}\n"
    (tmp_path / "hosts").write_text("h ssh-ed25519 AAAA\n")
    for given in ("h ssh-ed25519 AAAA\n", str(tmp_path / "hosts")):
        known = SshAccess.of({"DEPLOY_KNOWN_HOSTS": given}).known_hosts
        assert known == "h ssh-ed25519 AAAA\n"
    assert SshAccess.of({"DEPLOY_KNOWN_HOSTS": ""}) == SshAccess()
    with pytest.raises(UsageError, match="DEPLOY_KNOWN_HOSTS: nowhere"):
        SshAccess.of({"DEPLOY_KNOWN_HOSTS": "nowhere"})


def test_an_order_shows_no_secret() -> None:
    """A traceback or a log shows a password."""
    release = Release("sha256:1", "")
    order = Order(
        version="1",
        does="deploy",
        environment="a",
        settings={},
        release=release,
        password="planted",  # noqa: S106
        luggage="planted",
    )
    assert "planted" not in repr(order)


def test_the_hosts_side_needs_the_base_packages_alone() -> None:
    """A host has to install what only signs, connects or draws requests."""
    script = (
        "import sys\n"
        "for name in ('asyncssh', 'oras', 'cryptography', 'sigstore', 'tenacity', 'requests',"
        " 'schemathesis'): sys.modules[name] = None\n"
        "import ci.commands.app, ci.deploy.remote.there\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr[-1000:]


def test_what_only_the_host_has_is_not_looked_for_here(tmp_path: Path) -> None:
    """A long folder here, or a hook that lies there, keeps a good host from being asked."""
    text = (
        '[environments.test.deploy]\nhost = "ssh://gpu-01.example"\nrouter = "hook"\n'
        'hook = "/opt/hook"\nurl = "http://10.0.0.1:8080"\n'
        f'[environments.prod.deploy]\nhost = "ssh://gpu-02.example"\nfolder = "/{"x" * 200}"\n'
    )
    found = load(file_of(tmp_path, text)).settings
    assert grounds_of(found, "test", None).router.url == "http://10.0.0.1:8080"
    assert grounds_of(found, "prod", None).router.url == "http://127.0.0.1:30000"
