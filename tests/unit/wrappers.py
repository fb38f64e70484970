"""The CI wrappers, read: what each step of each job runs, and the variables that it gets."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = {file.stem: file for file in sorted((ROOT / ".github" / "workflows").glob("*.yml"))}
ACTIONS = {file.parent.name: file for file in sorted((ROOT / ".github").glob("actions/*/*.yml"))}
GITLAB = ROOT / ".gitlab-ci.yml"
JENKINS = ROOT / "Jenkinsfile"
YAML = (*WORKFLOWS.values(), *ACTIONS.values(), GITLAB)
VERSION: str = json.loads((ROOT / "dagger.json").read_text())["engineVersion"]

IMAGE, COMMIT = "registry.example/team/model", "c0ffee"
GIVEN = {
    "github.ref": "refs/heads/main",
    "github.repository": "team/model",
    "github.run_id": "7",
    "github.server_url": "https://git.example",
    "github.sha": COMMIT,
    "github.token": "gh-token",
    "inputs.environment": "prod",
    "inputs.reference": f"{IMAGE}:{COMMIT}",
    "secrets.DEPLOY_SSH_KEY": "planted-ssh-key",
    "secrets.REGISTRY_PASSWORD": "planted-password",
    "secrets.SIGNING_KEY": "planted-key",
    "vars.IMAGE": IMAGE,
    "vars.PULL_REQUEST_ENGINE": "",
    "vars.REGISTRY_USERNAME": "robot",
}
"""What GitHub's expressions stand for; one that isn't here is a mistake, or belongs here."""

GITHUB_GIVES = {
    "GITHUB_ACTOR": "jo",
    "GITHUB_REPOSITORY": "team/model",
    "GITHUB_RUN_ID": "7",
    "GITHUB_SERVER_URL": "https://git.example",
    "GITHUB_SHA": COMMIT,
}
GITLAB_GIVES = {
    "CI_COMMIT_SHA": COMMIT,
    "CI_JOB_URL": "https://git.example/team/model/-/jobs/7",
    "CI_PROJECT_URL": "https://git.example/team/model",
    "GITLAB_USER_LOGIN": "jo",
    "IMAGE": IMAGE,
}
JENKINS_GIVES = {
    "BUILD_URL": "https://ci.example/job/model/7/",
    "BY": "Jo Doe",
    "GIT_COMMIT": COMMIT,
    "GIT_URL": "https://git.example/team/model",
    "IMAGE": IMAGE,
}
SECRET = {
    "DEPLOY_SSH_KEY": "/ssh-key",
    "REGISTRY_USERNAME": "robot",
    "REGISTRY_USR": "robot",
    "SIGNING_KEY": "/key",
}
"""What GitLab and Jenkins give only to the jobs and stages that may have it."""


@dataclass(frozen=True)
class Script:
    """What one step runs, and the variables that it gets."""

    text: str
    environment: Mapping[str, str]


def load(file: Path) -> Any:
    """Return what a YAML file says."""
    return yaml.YAML(typ="safe", pure=True).load(file.read_text())


def filled(text: str) -> str:
    """Return `text` with GitHub's expressions replaced by what they stand for."""
    return re.sub(r"\$\{\{ (.+?) \}\}", lambda found: GIVEN[found[1]], text)


def github_jobs() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield workflow, name and text of each job."""
    for workflow, file in WORKFLOWS.items():
        yield from ((workflow, name, job) for name, job in load(file)["jobs"].items())


def github_steps(job: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a job's steps, and those of this project's own actions in their place."""
    for step in job.get("steps", ()):
        own = re.fullmatch(r"\./\.github/actions/(\w+)", step.get("uses", ""))
        yield from load(ACTIONS[own[1]])["runs"]["steps"] if own else (step,)


def github_scripts(job: dict[str, Any]) -> list[Script]:
    """Return the scripts of a GitHub job."""
    scripts = []
    for step in [step for step in github_steps(job) if "run" in step]:
        named = job.get("env", {}) | step.get("env", {})
        environment = {name: filled(value) for name, value in named.items()}
        scripts.append(Script(filled(step["run"]), GITHUB_GIVES | environment))
    return scripts


def merged(base: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with `more` over it, as GitLab's `extends` does."""
    both = {key: merged(base[key], more[key]) for key in base.keys() & more.keys()
            if isinstance(base[key], dict) and isinstance(more[key], dict)}  # fmt: skip
    return {**base, **more, **both}


def extended(told: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return a job of GitLab with what it extends."""
    job, whole = told[name], dict[str, Any]()
    bases = job.get("extends", [])
    for base in [bases] if isinstance(bases, str) else bases:
        whole = merged(whole, extended(told, base))
    return merged(whole, job)


def gitlab_jobs() -> dict[str, dict[str, Any]]:
    """Return GitLab's jobs by name, with what they extend."""
    told = load(GITLAB)
    return {
        name: extended(told, name)
        for name, job in told.items()
        if isinstance(job, dict) and not name.startswith(".")
    }


def gitlab_scripts(job: dict[str, Any], **more: str) -> list[Script]:
    """Return the lines of a GitLab job, each with the variables that the job gets."""
    environment = GITLAB_GIVES | job.get("variables", {}) | more
    environment |= SECRET if "environment" in job else {}
    return [Script(line, environment) for line in [*job.get("before_script", ()), *job["script"]]]


def jenkins_stages() -> dict[str, str]:
    """Return the text of each stage of the Jenkinsfile that has steps of its own."""
    text = JENKINS.read_text()
    starts = {found[1]: found.end() for found in re.finditer(r"stage\('(.+?)'\) \{", text)}
    stages = {name: text[start : closed(text, start)] for name, start in starts.items()}
    return {name: stage for name, stage in stages.items() if "stage(" not in stage}


def closed(text: str, start: int) -> int:
    """Return where the block that is open at `start` ends."""
    depth = 1
    for found in re.finditer(r"[{}]", text[start:]):
        depth += 1 if found[0] == "{" else -1
        if depth == 0:
            return start + found.start()
    raise AssertionError("a block has no end")


def jenkins_scripts(stage: str, **more: str) -> list[Script]:
    """Return the scripts of a stage, as Groovy reads them."""
    told = jenkins_stages()[stage]
    environment = JENKINS_GIVES | (SECRET if "credentials(" in told else {}) | more
    found = re.findall(r"sh (?:'''(.+?)'''|'(.+?)')", told, re.DOTALL)
    return [Script((long or short).replace("\\\n", ""), environment) for long, short in found]


def scripts() -> Iterator[tuple[str, list[Script]]]:
    """Yield the name and the scripts of every job of every platform."""
    for workflow, name, job in github_jobs():
        yield f"github {workflow} {name}", github_scripts(job)
    for name, job in gitlab_jobs().items():
        yield f"gitlab {name}", gitlab_scripts(job)
    for name in jenkins_stages():
        yield f"jenkins {name}", jenkins_scripts(name)
