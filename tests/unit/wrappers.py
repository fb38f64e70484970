"""The CI wrappers, read and run here.

Their scripts run in a shell of their own, with a `dagger` that only writes down what it was
asked, and with what each platform would put into the environment.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
WORKFLOWS = {file.stem: file for file in sorted((ROOT / ".github" / "workflows").glob("*.yml"))}
GITLAB = ROOT / ".gitlab-ci.yml"
JENKINS = ROOT / "Jenkinsfile"
VERSION: str = json.loads((ROOT / "dagger.json").read_text())["engineVersion"]
HANG = 60.0

IMAGE, COMMIT = "registry.example/team/model", "c0ffee"
GIVEN = {
    "github.ref": "refs/heads/main",
    "github.sha": COMMIT,
    "github.token": "gh-token",
    "inputs.environment": "prod",
    "inputs.reference": f"{IMAGE}:{COMMIT}",
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
    "KEY": "/key",
    "REGISTRY_USERNAME": "robot",
    "REGISTRY_USR": "robot",
    "SIGNING_KEY": "/key",
}
"""What GitLab and Jenkins give only to the jobs and stages that may have it."""

DAGGER = """#!/bin/sh
[ "$1" = version ] && exec echo "dagger $HAS (image://engine:$HAS) linux/amd64"
printf '%s\\n' "$@" '' >> "$ASKED"
case "$*" in
*export*) mkdir -p report && echo summary > report/summary.md ;;
*verdict*) exit "${VERDICT:-0}" ;;
esac
"""
GH = '#!/bin/sh\nexec jq --raw-output "$4" "$APPROVALS"\n'
CURL = '#!/bin/sh\necho \'echo "$DAGGER_VERSION" > "$INSTALLED"; mkdir -p "$BIN_DIR"\'\n'


@dataclass(frozen=True)
class Ran:
    """What became of a script: the calls that it made, and how it ended."""

    calls: tuple[tuple[str, ...], ...]
    code: int
    output: str
    installed: str
    """The version that it installed; empty where it installed none."""


def load(file: Path) -> Any:
    """Return what a YAML file says."""
    return YAML(typ="safe", pure=True).load(file.read_text())


def run(folder: Path, shell: str, script: str, environment: Mapping[str, str]) -> Ran:
    """Run a script beside this project's `dagger.json`, with stand-ins for what it calls."""
    stubs, asked, installed = folder / "bin", folder / "asked", folder / "installed"
    stubs.mkdir(exist_ok=True)
    for name, text in {"dagger": DAGGER, "gh": GH, "curl": CURL}.items():
        (stubs / name).write_text(text)
        (stubs / name).chmod(0o755)
    shutil.copy(ROOT / "dagger.json", folder)
    given = {
        "APPROVALS": str(folder / "approvals.json"),
        "ASKED": str(asked),
        "GITHUB_ENV": str(folder / "github_env"),
        "GITHUB_STEP_SUMMARY": str(folder / "step_summary"),
        "HAS": VERSION,
        "HOME": str(folder / "home"),
        "INSTALLED": str(installed),
        "PATH": f"{stubs}{os.pathsep}{os.environ['PATH']}",
    }
    ran = subprocess.run(
        [shell, "-ec", script], cwd=folder, env=given | dict(environment),
        capture_output=True, text=True, timeout=HANG, check=False,
    )  # fmt: skip
    blocks = asked.read_text().split("\n\n") if asked.exists() else []
    calls = tuple(tuple(block.splitlines()) for block in blocks if block.strip())
    version = installed.read_text().strip() if installed.exists() else ""
    return Ran(calls, ran.returncode, ran.stdout + ran.stderr, version)


def filled(text: str) -> str:
    """Return `text` with GitHub's expressions replaced by what they stand for."""
    return re.sub(r"\$\{\{ (.+?) \}\}", lambda found: GIVEN[found[1]], text)


def github_jobs() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield workflow, name and text of each job."""
    for workflow, file in WORKFLOWS.items():
        yield from ((workflow, name, job) for name, job in load(file)["jobs"].items())


def github(folder: Path, workflow: str, job: str) -> Ran:
    """Run a GitHub job's own scripts, one after the other."""
    told = load(WORKFLOWS[workflow])["jobs"][job]
    last = Ran((), 0, "", "")
    for step in [step for step in told["steps"] if "run" in step]:
        named = told.get("env", {}) | step.get("env", {})
        environment = {name: filled(value) for name, value in named.items()}
        last = run(folder, "bash", filled(step["run"]), GITHUB_GIVES | environment)
        if last.code:
            break
    return last


def gitlab_jobs() -> dict[str, dict[str, Any]]:
    """Return GitLab's jobs by name, with what they inherit."""
    told = load(GITLAB)
    own = {name: job for name, job in told.items() if name not in {"default", "variables"}}
    return {
        name: job | {
            "variables": told["variables"] | (base := own[job["extends"]]).get("variables", {})
            | job.get("variables", {}),
            "script": base["script"],
            "artifacts": base.get("artifacts"),
            "resource_group": base.get("resource_group"),
        }
        for name, job in own.items() if not name.startswith(".")
    }  # fmt: skip


def gitlab(folder: Path, job: str, **more: str) -> Ran:
    """Run a GitLab job, its variables expanded as a runner does."""
    told = gitlab_jobs()[job]
    environment = GITLAB_GIVES | told["variables"] | more
    if name := told.get("environment"):
        name = name["name"] if isinstance(name, dict) else name
        environment = SECRET | environment | {"CI_ENVIRONMENT_NAME": name}
    lines = [*load(GITLAB)["default"]["before_script"], *told["script"]]
    return run(folder, "sh", "\n".join(lines), expanded(environment))


def expanded(variables: Mapping[str, str]) -> dict[str, str]:
    """Return variables with those that they name in their place, an unknown one as nothing."""

    def value(found: re.Match[str]) -> str:
        return re.sub(r"\$(\w+)", value, variables.get(found[1], ""))

    return {name: re.sub(r"\$(\w+)", value, text) for name, text in variables.items()}


def jenkins_stages() -> dict[str, str]:
    """Return the text of each stage of the Jenkinsfile."""
    stage = r"\n    stage\('(.+?)'\)(.*?)(?=\n    stage|\n  \})"
    return dict(re.findall(stage, JENKINS.read_text(), re.DOTALL))


def jenkins(folder: Path, stage: str, **more: str) -> Ran:
    """Run a stage's calls of `prove` and `dagger`, by the shell text that the latter makes."""
    text, told = JENKINS.read_text(), jenkins_stages()[stage]
    first, second = re.findall(r"sh '''(.*?)''' \+\n    '(.*?)' \+ call\n", text, re.DOTALL)[0]
    before = (first + second).replace("\\\\", "\\")
    steps = text[: text.index("pipeline {")]
    proof = re.findall(r"  dagger\([\"'](?:\$\{call\})?(.*?)[\"']\)", steps)
    calls = []
    for name, call in re.findall(r"(prove|dagger)\('(.*?)'\)", told):
        calls += [call + proof[0], *proof[1:]] if name == "prove" else [call]
    environment = JENKINS_GIVES | (SECRET if "credentials(" in told else {}) | more
    return run(folder, "sh", "\n".join(before + call for call in calls), environment)
