"""The CI wrappers: thin, valid by the vendors' own rules, and no secret where a fork could look."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.unit.wrappers import (
    ACTIONS,
    GITLAB,
    JENKINS,
    ROOT,
    VERSION,
    WORKFLOWS,
    YAML,
    github_jobs,
    github_steps,
    gitlab_jobs,
    jenkins_stages,
    load,
)

pytestmark = pytest.mark.unit

TOOLS = Path(sys.executable).parent
PINNED = re.compile(r"uses: (?P<action>[\w./-]+)@(?P<commit>[0-9a-f]{40}) # v\d+\.\d+\.\d+$")
SCHEMAS = {
    "vendor.github-workflows": tuple(WORKFLOWS.values()),
    "vendor.github-actions": tuple(ACTIONS.values()),
    "vendor.gitlab-ci": (GITLAB,),
}
FORKS = {"pull_request_target", "workflow_run", "issue_comment"}
"""Triggers by which a stranger's change runs with this project's secrets."""

tool = pytest.mark.skipif(not (TOOLS / "actionlint").exists(), reason="actionlint isn't installed")


def actionlint(*files: Path) -> subprocess.CompletedProcess[str]:
    """Run actionlint, with ShellCheck where it is installed, by this project's settings."""
    shellcheck = shutil.which("shellcheck", path=str(TOOLS)) or ""
    config = ROOT / ".github" / "actionlint.yaml"
    return subprocess.run(
        [TOOLS / "actionlint", f"-shellcheck={shellcheck}", f"-config-file={config}", *files],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def schema(name: str, *files: Path) -> Result:
    """Hold files against a vendor's schema, as check-jsonschema ships it."""
    from check_jsonschema import main

    return CliRunner().invoke(main, ["--builtin-schema", name, *map(str, files)])


@tool
def test_github_workflows_are_valid() -> None:
    """GitHub refuses a workflow, or its shell fails where nobody looks."""
    found = actionlint(*WORKFLOWS.values())
    assert found.returncode == 0, found.stdout


@tool
def test_mistakes_in_workflows_are_found(tmp_path: Path) -> None:
    """The linter runs, and sees nothing."""
    wrong = tmp_path / "wrong.yml"
    text = WORKFLOWS["release"].read_text().replace("vars.IMAGE", "var.IMAGE")
    wrong.write_text(text.replace('="$REGISTRY_USERNAME"', "=$REGISTRY_USERNAME"))
    found = actionlint(wrong)
    assert found.returncode == 1
    assert 'undefined variable "var"' in found.stdout


@pytest.mark.parametrize("name", SCHEMAS)
def test_schema(name: str) -> None:
    """A vendor's own schema doesn't allow a wrapper."""
    found = schema(name, *SCHEMAS[name])
    assert found.exit_code == 0, found.output


def test_mistakes_against_a_schema_are_found(tmp_path: Path) -> None:
    """The schema is held against nothing."""
    wrong = tmp_path / ".gitlab-ci.yml"
    wrong.write_text(GITLAB.read_text().replace("when: manual", "when: asked"))
    assert schema("vendor.gitlab-ci", wrong).exit_code == 1


def test_actions_are_pinned() -> None:
    """Somebody who moves an action's tag runs code in this project's CI."""
    pins: dict[str, str] = {}
    for file in (*WORKFLOWS.values(), *ACTIONS.values()):
        for line in [line for line in file.read_text().splitlines() if "uses: " in line]:
            if "uses: ./" in line:
                continue
            found = PINNED.search(line)
            assert found, f"{file.name}: {line.strip()}"
            assert pins.setdefault(found["action"], found["commit"]) == found["commit"]
    assert {"actions/checkout", "dagger/dagger-for-github"} <= pins.keys()


def test_engine_version_stands_in_one_place() -> None:
    """A CI runs another engine than the module was made for."""
    for file in (*YAML, JENKINS):
        assert VERSION.removeprefix("v") not in file.read_text()
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    sdk = f"dagger-io=={VERSION.removeprefix('v')}"
    assert groups["dagger"] == [sdk]
    assert sdk in (ROOT / "requirements" / "dagger.in").read_text().split()


def secret_steps(job: dict[str, Any]) -> bool:
    """Return whether a job of GitHub may read a secret."""
    return "secrets." in str(job) or "secrets" in job


def test_github_forks_get_no_secret() -> None:
    """A stranger's pull request reads the registry's password."""
    for workflow, _, job in github_jobs():
        triggers = load(WORKFLOWS[workflow])["on"]
        triggers = {triggers} if isinstance(triggers, str) else set(triggers)
        assert not triggers & FORKS
        if secret_steps(job):
            assert "pull_request" not in triggers
            assert "environment" in job or "uses" in job
        if "pull_request" in triggers:
            assert "environment" not in job
            assert job["runs-on"] == "ubuntu-latest"
            assert load(WORKFLOWS[workflow])["permissions"] == {"contents": "read"}


def test_github_reads_only() -> None:
    """A workflow's token may write to the repository."""
    for file in WORKFLOWS.values():
        permissions = load(file)["permissions"]
        written = {name for name, right in permissions.items() if right == "write"}
        assert written <= {"pages", "id-token"}


def test_gitlab_forks_get_no_secret() -> None:
    """A stranger's merge request reads the registry's password, or uses the releases' engine."""
    for name, job in gitlab_jobs().items():
        rules = str(job["rules"])
        asks = "REGISTRY_PASSWORD" in str(job["script"])
        assert ("environment" in job) == (asks and "$CI_DEFAULT_BRANCH" in rules), name
        if "merge_request_event" in rules:
            assert "tags" not in job
            assert not asks


def test_jenkins_forks_get_no_secret() -> None:
    """A stranger's pull request reads the registry's password."""
    stages = jenkins_stages()
    before, _, release = JENKINS.read_text().partition("stage('Release') {")
    assert "credentials(" not in before
    assert "branch 'main'" in release.partition("stages {")[0]
    assert "credentials(" in release
    assert "label 'gpu'" not in stages["Pull request"]


def test_nightly_runs_on_a_gpu() -> None:
    """Nobody learns that the real image broke until it is released."""
    nightly = load(WORKFLOWS["nightly"])
    assert nightly["on"]["schedule"]
    assert "gpu" in nightly["jobs"]["prove"]["runs-on"]
    assert gitlab_jobs()["nightly"]["tags"] == ["gpu"]
    assert '"schedule"' in str(gitlab_jobs()["nightly"]["rules"])
    assert "cron(" in JENKINS.read_text()
    assert "label 'gpu'" in jenkins_stages()["Nightly"]


def test_report_is_published() -> None:
    """A failed run shows a log, and no report."""
    for workflow in ("pull-request", "nightly", "release"):
        steps = str([*github_steps(next(iter(load(WORKFLOWS[workflow])["jobs"].values())))])
        shown = [steps.index(word) for word in ("STEP_SUMMARY", "upload-artifact", "dagger call v")]
        assert shown == sorted(shown)
    assert "deploy-pages" in WORKFLOWS["nightly"].read_text()
    jobs = gitlab_jobs()
    for name in ("merge-request", "nightly", "publish"):
        artifacts = jobs[name]["artifacts"]
        assert artifacts["when"] == "always"
        assert artifacts["reports"] == {"junit": "report/junit.xml"}
    assert jobs["nightly"]["pages"] == {"publish": "report"}
    told = JENKINS.read_text().partition("pipeline {")[0]
    assert all(word in told for word in ("archiveArtifacts", "junit", "publishHTML"))
    for name in ("Pull request", "Nightly", "Publish"):
        assert re.search(r"post \{\s+always \{ showReport\(\) \}", jenkins_stages()[name])


def test_prod_waits_for_a_person() -> None:
    """A push to main goes to production by itself, or two promotions run at once."""
    promote = load(WORKFLOWS["promote"])["jobs"]["promote"]
    assert promote["environment"] == "${{ inputs.environment }}"
    assert "inputs.environment" in promote["concurrency"]
    prod = gitlab_jobs()["promote-to-prod"]
    assert prod["environment"] == "prod"
    assert [rule["when"] for rule in prod["rules"]] == ["manual"]
    assert prod["resource_group"]
    stage = jenkins_stages()["Promote to prod"]
    assert all(word in stage for word in ("input {", "submitter '", "lock("))


def test_deploys_what_was_promoted() -> None:
    """A deployment runs before its promotion, without the host's variable, or two at once."""
    steps = [
        step.get("name", "") for step in load(WORKFLOWS["promote"])["jobs"]["promote"]["steps"]
    ]
    assert steps.index("Promote the image") < steps.index("Deploy it")
    last = load(WORKFLOWS["promote"])["jobs"]["promote"]["steps"][steps.index("Deploy it") :]
    assert {step["if"] for step in last} == {"vars.DEPLOY == 'true'"}
    stages = list(jenkins_stages())
    for name in ("test", "prod"):
        job = gitlab_jobs()[f"deploy-to-{name}"]
        assert job["needs"] == [f"promote-to-{name}"]
        assert '$DEPLOY == "true"' in str(job["rules"])
        assert (job["environment"], job["resource_group"]) == (name, "deploy")
        stage = jenkins_stages()[f"Deploy to {name}"]
        assert "environment name: 'DEPLOY', value: 'true'" in stage
        assert "lock('deploy')" in stage
        assert stages.index(f"Promote to {name}") + 1 == stages.index(f"Deploy to {name}")


def test_nothing_is_rolled_back_by_itself() -> None:
    """A push brings back what was there before, or nobody can do it by hand."""
    told = load(WORKFLOWS["rollback"])
    assert set(told["on"]) == {"workflow_dispatch"}
    promote = load(WORKFLOWS["promote"])["jobs"]["promote"]
    assert told["jobs"]["roll-back"]["concurrency"] == promote["concurrency"]
    for name in ("test", "prod"):
        job = gitlab_jobs()[f"roll-back-{name}"]
        assert [(rule["when"], rule["allow_failure"]) for rule in job["rules"]] == [
            ("manual", True)
        ]
        assert f"equals expected: '{name}'" in jenkins_stages()[f"Roll back {name}"]
        refused = f"not {{ equals expected: '{name}', actual: params.ROLL_BACK }}"
        assert refused in JENKINS.read_text().partition("stage('Publish')")[0]
