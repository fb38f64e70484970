"""The CI wrappers, run: each step in a shell of its own, as each platform runs it.

The `dagger` that they call only writes down what it was asked.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.unit.wrappers import (
    ROOT,
    VERSION,
    WORKFLOWS,
    Script,
    github_scripts,
    gitlab_jobs,
    gitlab_scripts,
    jenkins_scripts,
    load,
)

HANG = 60.0

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


def run(folder: Path, shell: str, script: str, environment: Mapping[str, str]) -> Ran:
    """Run a script beside this project's `dagger.json`, with stand-ins for what it calls."""
    stubs, asked, installed = folder / "bin", folder / "asked", folder / "installed"
    (folder / ".ci").mkdir(exist_ok=True)
    stubs.mkdir(exist_ok=True)
    for name, text in {"dagger": DAGGER, "gh": GH, "curl": CURL, "apk": "#!/bin/sh\n"}.items():
        (stubs / name).write_text(text)
        (stubs / name).chmod(0o755)
    for name in ("dagger.json", ".ci/dagger"):
        shutil.copy(ROOT / name, folder / name)
    given = {
        "APPROVALS": str(folder / "approvals.json"),
        "ASKED": str(asked),
        "GITHUB_OUTPUT": str(folder / "github_output"),
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


def run_all(folder: Path, shell: str, scripts: Iterable[Script]) -> Ran:
    """Run scripts one after the other, until one fails."""
    last = Ran((), 0, "", "")
    for script in scripts:
        last = run(folder, shell, script.text, script.environment)
        if last.code:
            break
    return last


def github(folder: Path, workflow: str, job: str) -> Ran:
    """Run a GitHub job's own scripts, one after the other."""
    return run_all(folder, "bash", github_scripts(load(WORKFLOWS[workflow])["jobs"][job]))


def gitlab(folder: Path, job: str, **more: str) -> Ran:
    """Run a GitLab job."""
    return run_all(folder, "sh", gitlab_scripts(gitlab_jobs()[job], **more))


def jenkins(folder: Path, stage: str, **more: str) -> Ran:
    """Run the steps of a stage."""
    return run_all(folder, "sh", jenkins_scripts(stage, **more))
