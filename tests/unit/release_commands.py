"""`sglang-ci release …` against a registry: the folder it runs in, its people, its secrets."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ci.image.layout import OciLayout
from ci.registry.access import Access
from ci.report.model import now
from tests.fakes.layout import image, write_tar
from tests.unit.commands import Command
from tests.unit.releases import key, report

SETTINGS = """
[registry]
plain_http = {plain_http}
timeout = 5
attempts = 2
[trust.keys]
ci = "keys/ci.pub"
ada = "keys/ada.pub"
bob = "keys/bob.pub"
[vulnerabilities]
database = "{database}"
[environments.test]
signers = ["ci"]
[environments.prod]
evidence = ["report", "record", "sbom", "vulnerabilities", "provenance"]
signers = ["ci"]
approvals = 2
approvers = ["ada", "bob", "carol"]
max_age_days = 30
after = "test"
"""
INSTALLED = {
    "schema_version": "1.0",
    "python": "3.11.2",
    "distributions": [{"name": "sglang", "version": "0.5.23"}],
}
LABELS = {
    "org.opencontainers.image.version": "0.5.23",
    "org.opencontainers.image.revision": "0123456789abcdef0123456789abcdef01234567",
}


Runner = Callable[[Sequence[str], Mapping[str, str]], tuple[int, str, str]]
"""Runs `sglang-ci` with arguments and variables; returns exit code, output and error output."""


@dataclass
class Workplace:
    """A folder with settings, keys, a layout and a report, and the command that runs in it.

    Args:
        runner: Runs the command there.
        folder: The folder.
        reference: `registry/repository` of the releases.
        access: How the registry is reached.
        variables: Of every run, beside the signing key.
        said: Everything that the command printed.
    """

    runner: Runner
    folder: Path
    reference: str
    access: Access
    variables: dict[str, str] = field(default_factory=dict)
    said: str = ""

    def furnish(self, database: str) -> None:
        """Write everything into the folder that the command runs in."""
        told = {"plain_http": str(self.access.plain_http).lower(), "database": database}
        (self.folder / "sglang-ci.toml").write_text(SETTINGS.format(**told))
        (self.folder / "keys").mkdir()
        for name in ("ci", "ada", "bob", "eve"):
            (self.folder / f"keys/{name}.pub").write_text(key(name)[1])
        (self.folder / "proof").mkdir()
        (self.folder / "proof/report.json").write_text(json.dumps(report(now())))
        (self.folder / "installed.json").write_text(json.dumps(INSTALLED))
        write_tar(self.folder / "image.tar", image(labels=LABELS))
        self.variables |= {
            "SGLANG_CI_ACTOR": "ci-bot",
            "DOCKER_CONFIG": str(self.folder / "no-docker"),
            "REGISTRY_USERNAME": self.access.username,
            "REGISTRY_PASSWORD": self.access.password,
        }

    @property
    def digest(self) -> str:
        """The image's digest."""
        return OciLayout.open(self.folder / "image.tar").image.digest

    @property
    def by_digest(self) -> str:
        """The image's reference by digest."""
        return f"{self.reference}@{self.digest}"

    def run(self, *arguments: str, by: str = "", signing_key: str = "", code: int = 0) -> str:
        """Run `sglang-ci release ARGUMENTS` and return what it printed.

        Args:
            arguments: What it is to do.
            by: Who signs; nobody where empty.
            signing_key: `SIGNING_KEY`, where that isn't a key of somebody known here.
            code: The exit code that it has to end with.
        """
        secret = {"SIGNING_KEY": signing_key or (key(by)[0] if by else "")}
        found, out, err = self.runner(["release", *arguments], self.variables | secret)
        self.said += out + err
        assert found == code, f"{arguments}: exit code {found}\n{out}\n{err}"
        return out if code == 0 else out + err

    def publish(self, *more: str, by: str = "ci", signing_key: str = "", code: int = 0) -> str:
        """Publish the image with all that is known of it."""
        known = ("--report", "proof", "--installed", "installed.json", *more)
        asked = ("publish", "image.tar", self.reference, *known)
        return self.run(*asked, by=by, signing_key=signing_key, code=code)

    def approve(self) -> None:
        """Approve the image for production, by two people."""
        for name in ("ada", "bob"):
            self.run("approve", self.by_digest, "--environment", "prod", "--by", name, by=name)

    def to_prod(self) -> None:
        """Bring the image all the way to production."""
        self.approve()
        for environment in ("test", "prod"):
            self.run("promote", self.by_digest, "--environment", environment, by="ci")


def in_process(
    command: Command, capture: pytest.CaptureFixture[str], patch: pytest.MonkeyPatch
) -> Runner:
    """Return what runs the command in this process, with none of its variables but those given."""
    for name in os.environ:
        if name.startswith(("SIGN", "SIGSTORE_", "REGISTRY_", "CI_", "GITLAB_", "JENKINS_")):
            patch.delenv(name)

    def run(arguments: Sequence[str], variables: Mapping[str, str]) -> tuple[int, str, str]:
        for name, value in variables.items():
            patch.setenv(name, value)
        capture.readouterr()
        code = command(*arguments)
        return (code, *capture.readouterr())

    return run


def secrets_of(access: Access) -> Mapping[str, bytes]:
    """Return every form in which a secret could show: by what it is."""
    found: dict[str, bytes] = {}
    if access.password:
        pair = f"{access.username}:{access.password}".encode()
        found |= {"registry's password": access.password.encode()}
        found |= {"registry's credentials": base64.b64encode(pair)}
    for name in ("ci", "ada", "bob", "eve"):
        body = [line for line in key(name)[0].splitlines() if not line.startswith("-")]
        found |= {f"key of {name}, line {at}": line.encode() for at, line in enumerate(body)}
    return found


def leaks(access: Access, *texts: bytes) -> list[str]:
    """Return which secrets stand in any of the texts."""
    return [what for what, secret in secrets_of(access).items() if any(secret in t for t in texts)]


def files_below(folder: Path) -> list[bytes]:
    """Return the content of all files in a folder."""
    return [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
