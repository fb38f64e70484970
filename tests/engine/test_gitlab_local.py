"""`.gitlab-ci.yml` run by a local runner, job by job, on a real engine and a real registry.

The runner is gitlab-ci-local with its shell executor: jobs get the variables that GitLab gives,
and no container of their own, so that `image` and `services` are left out. What else differs
from GitLab stands in `local` and in the fixtures: no GPU, and a registry of this host.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from ci.release.signing import new_key
from ci.report.write import load
from ci.verdict import Verdict
from tests.engine.conftest import HANG, ROOT, copy_project, run_dagger, said
from tests.registries import PASSWORD, USER, docker_registry

pytestmark = [pytest.mark.engine, pytest.mark.long]

PACKAGES = ("gitlab-ci-local@4.75.1", "node@22.22.0")
"""The runner, and the Node.js that it needs, which may be newer than the machine's."""
INSTALLED = ROOT / ".tools" / "gitlab-ci-local-4.75.1"
INSTALL_HANG = 180.0

CONFIG = """
[registry]
plain_http = true

[smoke]
select = "greedy"

[bench]
in_ci = false

[trust]
keys = {{ ci = '''{key}''' }}

[environments.test]
evidence = ["report", "record"]

[environments.prod]
evidence = ["report", "record", "sbom"]
after = "test"
approvals = 1
approvers = ["jo"]
"""
WRAPPER: dict[str, Any] = YAML(typ="safe", pure=True).load((ROOT / ".gitlab-ci.yml").read_text())


@dataclass(frozen=True)
class Project:
    """A project on this host whose pipelines the local runner runs."""

    folder: Path
    tools: Path
    variables: dict[str, str]

    def pipeline(self, source: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run what GitLab runs for an event, such as `push`."""
        given = self.variables | {"CI_DEFAULT_BRANCH": "main", "CI_PIPELINE_SOURCE": source}
        named = [f"--variable={name}={value}" for name, value in given.items()]
        path = f"{self.tools}{os.pathsep}{os.environ['PATH']}"
        return subprocess.run(
            ["gitlab-ci-local", "--force-shell-executor", *named, *arguments],
            cwd=self.folder,
            env=os.environ | {"GCL_IGNORE_PREDEFINED_VARS": ",".join(given), "PATH": path},
            capture_output=True, text=True, timeout=2 * HANG, check=False,
        )  # fmt: skip


@pytest.fixture(scope="module")
def tools() -> Path:
    """Install the runner once, and return the folder of its programs."""
    programs = INSTALLED / "node_modules" / ".bin"
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm isn't installed, from which gitlab-ci-local comes")
    if not (programs / "rsync").exists():
        INSTALLED.mkdir(parents=True, exist_ok=True)
        argv = [npm, "install", "--no-audit", "--no-fund", f"--prefix={INSTALLED}", *PACKAGES]
        done = subprocess.run(
            argv, capture_output=True, text=True, timeout=INSTALL_HANG, check=False
        )
        if done.returncode:
            pytest.skip(f"gitlab-ci-local can't be had: {done.stderr.strip().splitlines()[-1]}")
        # It copies the tree for containers first, which jobs in a shell never read.
        (programs / "rsync").symlink_to("/bin/true")
    return programs


@pytest.fixture(scope="module")
def project(tools: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """Copy this project, with settings and a registry of its own, and without a GPU."""
    folder, beside = tmp_path_factory.mktemp("project"), tmp_path_factory.mktemp("beside")
    private, public = new_key()
    (beside / "key.pem").write_text(private)
    copy_project(folder)
    (folder / "sglang-ci.toml").write_text(CONFIG.format(key=public))
    with docker_registry(beside, login=True) as registry:
        (folder / ".gitlab-ci-local.yml").write_text(json.dumps(local(registry.address)))
        for words in ("init --quiet --initial-branch=main", "add --all", "commit --quiet -m one"):
            git(folder, *words.split())
        secret = {
            "REGISTRY_PASSWORD": PASSWORD,
            "REGISTRY_USERNAME": USER,
            "SIGNING_KEY": str(beside / "key.pem"),
        }
        ours = {"GITLAB_USER_LOGIN": "jo", "IMAGE": f"{registry.address}/team/model"}
        yield Project(folder, tools, secret | ours)


def git(folder: Path, *arguments: str) -> None:
    """Run git as somebody."""
    who = ("-c", "user.name=jo", "-c", "user.email=jo@example.org")
    subprocess.run(["git", *who, *arguments], cwd=folder, check=True)


def local(registry: str) -> dict[str, Any]:
    """Return what differs here: no containers, no GPU, and a registry that only this host sees."""
    own: dict[str, Any] = {
        name: {"script": [here(line, registry) for line in WRAPPER[name]["script"]]}
        for name in ("publish", "promote-to-test", "promote-to-prod")
    }
    return own | {"merge-request": {"services": [], "before_script": []}}


def here(line: str, registry: str) -> str:
    """Return a call that reaches the registry, and asks for no GPU."""
    reached = f"--config=sglang-ci.toml --registry=tcp://{registry}"
    return line.replace("--config=sglang-ci.toml", reached).replace(" --gpu", "")


@pytest.mark.parametrize(
    ("source", "jobs"),
    [
        ("merge_request_event", {"merge-request": "on_success"}),
        ("schedule", {"nightly": "on_success"}),
        (
            "push",
            {
                "publish": "on_success",
                "promote-to-test": "on_success",
                "promote-to-prod": "manual",
            },
        ),
        ("web", {}),
    ],
)
def test_jobs_of_each_event(project: Project, source: str, jobs: dict[str, str]) -> None:
    """GitLab runs another job than the one that an event should start, or refuses the file."""
    listed = project.pipeline(source, "--list-json")
    assert listed.returncode == 0, said(listed)
    found = {job["name"]: job["when"] for job in json.loads(listed.stdout)}
    assert {name: when for name, when in found.items() if when != "never"} == jobs


def test_a_host_adds_its_jobs(project: Project) -> None:
    """With a host to deploy to, nothing is deployed, or a roll-back isn't offered."""
    listed = project.pipeline("push", "--list-json", "--variable=DEPLOY=true")
    assert listed.returncode == 0, said(listed)
    found = {job["name"]: job["when"] for job in json.loads(listed.stdout)}
    for name in ("test", "prod"):
        assert found[f"deploy-to-{name}"] == "on_success"
        assert found[f"roll-back-{name}"] == "manual"


def test_merge_request_is_proven(project: Project) -> None:
    """A merge request gets no verdict, or no report."""
    ran = project.pipeline("merge_request_event", "merge-request")
    assert ran.returncode == 0, said(ran)
    assert "PASSED" in ran.stdout
    report = project.folder / "report"
    assert load(report).verdict is Verdict.PASSED
    assert {"junit.xml", "index.html", "summary.md"} <= {file.name for file in report.iterdir()}
    assert PASSWORD not in said(ran)


def test_main_is_published_and_brought_to_prod(project: Project, tmp_path: Path) -> None:
    """What main holds doesn't reach the registry, or goes to prod without who let it."""
    ran = project.pipeline("push", "--manual", "promote-to-prod")
    assert ran.returncode == 0, said(ran)
    assert PASSWORD not in ran.stdout + ran.stderr
    image = project.variables["IMAGE"]
    registry = f"--registry=tcp://{image.partition('/')[0]}"
    (tmp_path / "password").write_text(PASSWORD)
    reached = (registry, f"--username={USER}", f"--password=file:{tmp_path / 'password'}")
    asked = ("environment", "--name=prod", f"--repository={image}", "history")
    settings = "--config=sglang-ci.toml"
    there = run_dagger("call", settings, *reached, *asked, folder=project.folder)
    assert there.returncode == 0, said(there)
    assert "sha256:" in there.stdout
