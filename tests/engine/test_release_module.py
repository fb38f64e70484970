"""From an image to an environment, by the module, with a registry that only this host reaches."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import anyio
import httpx
import pytest

from ci.deploy.demo import clear
from ci.deploy.grounds import Grounds
from ci.release.signing import new_key
from ci.report.write import load
from ci.settings import load as read
from ci.verdict import Verdict
from tests.engine.conftest import HANG, ROOT, run_dagger, said
from tests.live.podman import own_podman
from tests.readme import readme
from tests.registries import PASSWORD, USER, Running, docker_registry
from tests.unit.launching import free_port
from tests.unit.router_rigs import INSTALLED

pytestmark = [pytest.mark.engine, pytest.mark.long]

STAGES = ["preflight", "readiness", "versions", "smoke", "bench", "publish"]
CONFIG = """
[registry]
plain_http = true
tag = "{version}-{revision}"

[smoke]
select = "greedy"

[bench]
requests = 24

[gate]
slowdown = 1
least = 0.5
pairs = 10
interim = false
repeat = false
concurrency = 4
requests = 8

[trust]
keys = { ci = "trust/ci.pub", alice = "trust/alice.pub" }

[environments.test]
evidence = ["report", "record", "sbom", "provenance"]

[environments.prod]
evidence = ["report", "record", "sbom", "provenance"]
after = "test"
approvals = 1
approvers = ["alice"]
"""


@dataclass(frozen=True)
class Project:
    """A project that releases to a registry of this host."""

    folder: Path
    registry: Running

    @property
    def reached(self) -> list[str]:
        """What the module needs to know of the project and of a registry on this host."""
        return [
            f"--config={self.folder / 'sglang-ci.toml'}",
            f"--trust={self.folder / 'trust'}",
            f"--registry=tcp://{self.registry.address}",
        ]

    def publish(self, repository: str, revision: str = "abc123") -> str:
        """Run the README's own command; return the reference by digest that it ends with."""
        own = {
            "file:ci.key": f"file:{self.folder / 'ci.key'}",
            "'$(git rev-parse HEAD)'": f"{revision} --source-url https://example.org/project",
            "--username me": f"--username {USER}",
            "env:REGISTRY_PASSWORD": f"file:{self.folder / 'password'}",
            "registry.example/team/sglang": repository,
        }
        _, call, *arguments = readme("dagger call --signing-key", own)
        kept = self.folder / "report"
        ran = run_dagger(call, *self.reached, *arguments, "directory", "export", f"--path={kept}")
        assert ran.returncode == 0, said(ran)
        report = load(kept)
        assert report.verdict is Verdict.PASSED, report.cause
        assert [check.name for check in report.checks] == STAGES
        return report.published

    def call(self, *arguments: str, key: str = "ci") -> subprocess.CompletedProcess[str]:
        """Run `dagger call` with everything that a release needs, signing by `key`."""
        given = {
            "username": USER,
            "password": f"file:{self.folder / 'password'}",
            "signing-key": f"file:{self.folder / key}.key",
        }
        options = (f"--{name}={value}" for name, value in given.items())
        return run_dagger("call", *self.reached, *options, *arguments)

    def answer(self, *arguments: str, key: str = "ci") -> str:
        """Return what a call that must succeed prints."""
        ran = self.call(*arguments, key=key)
        assert ran.returncode == 0, said(ran)
        return ran.stdout.strip()

    def promoted(self, reference: str) -> None:
        """Bring a release to production, approved by who has to."""
        release = ("release", f"--reference={reference}")
        self.answer(*release, "promote", "--environment=test")
        self.answer(*release, "approve", "--environment=prod", "--by=alice", key="alice")
        self.answer(*release, "promote", "--environment=prod")

    def clean(
        self, folder: Path, *arguments: str, more: str = "", **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run `sglang-ci` in a folder that has only the settings and public keys.

        Args:
            folder: Is made where it isn't there.
            arguments: Of the command.
            more: Further settings.
            variables: Further variables.
        """
        folder.mkdir(exist_ok=True)
        config = (self.folder / "sglang-ci.toml").read_text() + more
        (folder / "sglang-ci.toml").write_text(config.replace("trust/", f"{self.folder}/trust/"))
        known = {"PYTHONPATH": str(ROOT), "REGISTRY_USERNAME": USER, "REGISTRY_PASSWORD": PASSWORD}
        return subprocess.run(
            [sys.executable, "-m", "ci", *arguments],
            cwd=folder,
            env=os.environ | known | variables,
            capture_output=True,
            text=True,
            timeout=HANG,
            check=False,
        )


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project with two keys, and a registry that wants a password."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "trust").mkdir()
    for name in ("ci", "alice"):
        private, public = new_key()
        (folder / f"{name}.key").write_text(private)
        (folder / "trust" / f"{name}.pub").write_text(public)
    (folder / "sglang-ci.toml").write_text(CONFIG)
    (folder / "password").write_text(PASSWORD)
    with docker_registry(folder, login=True) as registry:
        yield Project(folder, registry)


def check_storage(project: Project) -> None:
    """All layers are zstd, and no file of the registry holds a secret."""
    storage = project.folder / "storage"
    manifests = [
        json.loads(file.read_bytes())
        for file in storage.rglob("data")
        if file.stat().st_size < 100_000 and file.read_bytes().startswith(b"{")
    ]
    images = [one for one in manifests if "layers" in one and not one.get("subject")]
    assert images
    for image in images:
        assert {layer["mediaType"].rpartition("+")[2] for layer in image["layers"]} == {"zstd"}
    secrets = [PASSWORD.encode(), (project.folder / "ci.key").read_bytes()[30:90]]
    for file in (file for file in storage.rglob("data") if file.is_file()):
        content = file.read_bytes() if file.stat().st_size < 50_000_000 else b""
        assert not any(secret in content for secret in secrets), file


def test_from_image_to_production(project: Project, tmp_path: Path) -> None:
    """What was proven is published, approved and promoted, and anyone can check it later."""
    repository = f"{project.registry.address}/team/sglang"
    reference = project.publish(repository)
    assert reference.startswith(f"{repository}@sha256:")

    early = project.call("release", f"--reference={reference}", "verify", "--environment=prod")
    assert early.returncode != 0
    assert "test" in said(early)
    project.promoted(reference)
    prod = ("environment", "--name=prod", f"--repository={repository}")
    assert project.answer(*prod, "current") == reference

    there = project.clean(
        tmp_path / "clean", "release", "verify", reference, "--environment", "prod"
    )
    assert there.returncode == 0, there.stdout + there.stderr
    page = project.clean(tmp_path / "clean", "release", "show", reference)
    assert page.returncode == 0, page.stdout + page.stderr
    for part in ("abc123", "0.5.23", "alice", "prod"):
        assert part in page.stdout, part
    check_storage(project)
    held_against(project, reference, tmp_path / "compared")


DEPLOYED = """
[server]
environment = {{ OMP_NUM_THREADS = "1" }}

[environments.prod.deploy]
target = "container"
port = {port}
folder = "state"
grace = 30
"""


@pytest.mark.skipif(not INSTALLED, reason="haproxy isn't installed")
def test_from_production_to_a_container_and_back(project: Project, tmp_path: Path) -> None:
    """What the engine published can't be deployed, or the way back was never gone."""
    repository = f"{project.registry.address}/team/deployed"
    port, there = free_port(), tmp_path / "there"
    more = DEPLOYED.format(port=port)
    with own_podman(tmp_path / "podman") as podman:

        def told(*command: str) -> str:
            ran = project.clean(
                there,
                *(*command, "--environment", "prod"),
                more=more,
                SGLANG_CI_REGISTRY__REPOSITORY=repository,
                SIGNING_KEY=(project.folder / "ci.key").read_text(),
                **podman.variables,
            )
            assert ran.returncode == 0, said(ran)
            return ran.stdout + ran.stderr

        try:
            first, second = (project.publish(repository, name) for name in ("first", "second"))
            for reference in (first, second):
                project.promoted(reference)
                told("deploy")
                assert f"proven, {reference}" in told("deploy", "status")
                assert answers(port) == "0.5.23"
            told("rollback")
            assert f"proven, {first}" in told("deploy", "status")
            assert told("release", "current").strip().endswith(first)
            assert answers(port) == "0.5.23"
        finally:
            settings = read(there / "sglang-ci.toml").settings
            with pytest.MonkeyPatch.context() as patch:
                patch.chdir(there)
                for name, value in podman.variables.items():
                    patch.setenv(name, value)
                anyio.run(clear, Grounds.of(settings, "prod"))


def answers(port: int) -> str:
    """Return the version that answers through the router."""
    found = httpx.get(f"http://127.0.0.1:{port}/server_info", timeout=30).json()["version"]
    return str(found)


def test_a_failing_case_of_the_user_stops_publishing(project: Project, tmp_path: Path) -> None:
    """An image is pushed though a user's own case failed on it."""
    cases, kept = tmp_path / "cases", tmp_path / "report"
    cases.mkdir()
    case = "def test_greedy_mine(model):\n    assert model == 'other'\n"
    (cases / "test_mine.py").write_text(case)
    to = f"--publish-to={project.registry.address}/team/refused"
    ran = project.call(
        *(f"--smoke-cases={cases}", "--revision=abc123", "ci", to),
        *("directory", "export", f"--path={kept}"),
    )
    assert ran.returncode == 0, said(ran)
    report = load(kept)
    assert report.verdict is Verdict.FAILED
    assert [check.name for check in report.checks] == [
        "preflight",
        "readiness",
        "versions",
        "smoke",
    ]
    assert not report.published
    assert not list((project.folder / "storage").rglob("refused/_manifests/**/link"))


def held_against(project: Project, reference: str, folder: Path) -> None:
    """The image that was published is a baseline, and the same image is no slower than it."""
    own = {"registry.example/team/sglang@sha256:…": reference}
    _, call, *arguments = readme("dagger call image compare", own)
    ran = project.call(*arguments, "directory", "export", f"--path={folder}")
    assert (call, ran.returncode) == ("call", 0), said(ran)
    report = load(folder)
    assert report.verdict is Verdict.PASSED, report.cause
    assert report.checks[-1].facts["baseline"] == reference

    ran = project.call(
        "image", "size", f"--baseline={reference}", "directory", "export", f"--path={folder}"
    )
    assert ran.returncode == 0, said(ran)
    sized = load(folder)
    assert sized.verdict is Verdict.PASSED, sized.cause
    assert any(figure.name.startswith("package") for figure in sized.checks[0].figures)
