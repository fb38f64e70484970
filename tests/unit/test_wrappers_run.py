"""The CI wrappers' scripts, run: what they ask of the module, and which Dagger they ask."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.unit.test_public_api import MAIN, dagger_functions
from tests.unit.wrapper_runs import Ran, github, gitlab, jenkins, run
from tests.unit.wrappers import VERSION, github_jobs, github_steps, gitlab_jobs, jenkins_stages

pytestmark = [
    pytest.mark.unit,
    pytest.mark.skipif(not shutil.which("jq"), reason="jq isn't installed, as CIs have it"),
]

SAID = [
    ("approved", "prod", "ann"),
    ("rejected", "prod", "bob"),
    ("approved", "registry", "cid"),
    ("approved", "prod", "ann"),
]
"""What reviewers said about one run on GitHub: state, environment, who."""

Job = Callable[[Path], Ran]


def jobs() -> Iterator[tuple[str, Job]]:
    """Yield the name of every job of every platform, and what runs it."""
    for workflow, job, told in github_jobs():
        if "steps" in told:
            yield f"github {workflow} {job}", partial(github, workflow=workflow, job=job)
    for name in gitlab_jobs():
        yield f"gitlab {name}", partial(gitlab, job=name)
    for name in jenkins_stages():
        yield f"jenkins {name}", partial(jenkins, stage=name)


JOBS = dict(jobs())
KEEP = ("directory", "export", "--path=report")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Return a folder in which jobs run, with what GitHub's reviewers said."""
    said = [
        {"state": state, "environments": [{"name": name}], "user": {"login": who}}
        for state, name, who in SAID
    ]
    (tmp_path / "approvals.json").write_text(json.dumps(said))
    return tmp_path


def offered() -> dict[tuple[str, str], tuple[dict[str, bool], str]]:
    """Return the module's functions: by object and name, their arguments and what they return.

    Of each argument whether it must be given.
    """
    found = {}
    for line in dagger_functions():
        shape = re.fullmatch(r"(\w+)\.(\w+)(?:\((.*)\) ->|:) (.+)", line)
        assert shape, line
        given = [
            argument.partition(": ") for argument in filter(None, (shape[3] or "").split(", "))
        ]
        needed = {name: " = " not in rest for name, _, rest in given}
        found[shape[1], shape[2]] = (needed, shape[4])
    return found


def check(call: tuple[str, ...]) -> None:
    """Hold one `dagger call` against the module."""
    functions, at = offered(), MAIN
    needed = {name: False for kind, name in functions if kind == MAIN}
    for word in call[1:]:
        if at.startswith("dagger."):
            assert word in KEEP, f"{word} after {at}"
        elif word.startswith("--"):
            name = word[2:].partition("=")[0].replace("-", "_")
            assert name in needed, f"{word} of {at} in {call}"
            needed[name] = False
        else:
            assert not any(needed.values()), f"{needed} before {word}"
            arguments, at = functions[at, word.replace("-", "_")]
            needed = dict(arguments)
    assert not any(needed.values()), needed


@pytest.mark.parametrize("name", JOBS)
def test_calls_fit_the_module(place: Path, name: str) -> None:
    """A job asks for a function or an argument that the module doesn't have."""
    ran = JOBS[name](place)
    assert ran.code == 0, ran.output
    assert ran.calls
    assert all(call[0] == "call" for call in ran.calls)
    for call in ran.calls:
        check(call)


@pytest.mark.parametrize(
    "wrong",
    [
        ("call", "--colour=red", "ci"),
        ("call", "ci", "--username=me"),
        ("call", "prove"),
        ("call", "verdict"),
        ("call", "ci", "directory", "import"),
    ],
    ids=" ".join,
)
def test_calls_that_do_not_fit_are_found(wrong: tuple[str, ...]) -> None:
    """The module is held against nothing."""
    with pytest.raises((AssertionError, KeyError)):
        check(wrong)


@pytest.mark.parametrize(
    "name", [name for name in JOBS if re.search("(?i)promote.to.prod|promote promote", name)]
)
def test_who_approves_is_named(place: Path, name: str) -> None:
    """The registry says that somebody approved who didn't, or doesn't say who did."""
    asked = [call for call in JOBS[name](place).calls if "approve" in call]
    who = {"github": "ann", "gitlab": "jo", "jenkins": "Jo Doe"}[name.partition(" ")[0]]
    assert [call[-1] for call in asked] == [f"--by={who}"]


def test_nobody_approves_where_nobody_was_asked(place: Path) -> None:
    """A promotion without a reviewer approves itself."""
    (place / "approvals.json").write_text("[]")
    calls = [*github(place, "promote", "promote").calls, *gitlab(place, "promote-to-test").calls]
    assert calls
    assert not [call for call in calls if "approve" in call]


@pytest.mark.parametrize("name", JOBS)
def test_no_secret_is_an_argument(place: Path, name: str) -> None:
    """A password stands in the list of processes, or in a log."""
    ran = JOBS[name](place)
    assert "planted" not in ran.output
    assert not [word for call in ran.calls for word in call if "planted" in word]


NIGHTLY = {
    "gitlab": partial(gitlab, job="nightly"),
    "jenkins": partial(jenkins, stage="Nightly"),
}
platforms = pytest.mark.parametrize("platform", NIGHTLY)


@platforms
def test_bad_verdict_fails_the_job(place: Path, platform: str) -> None:
    """A job whose report says FAILED is green, or leaves no report."""
    ran = NIGHTLY[platform](place, VERDICT="1")
    assert ran.code == 1
    assert (place / "report" / "summary.md").exists()


@platforms
@pytest.mark.parametrize(("there", "installed"), [(VERSION, ""), ("v0.1.0", VERSION)])
def test_right_dagger_is_installed(place: Path, platform: str, there: str, installed: str) -> None:
    """A runner asks with another Dagger than the module names, or installs it each time."""
    ran = NIGHTLY[platform](place, HAS=there)
    assert ran.code == 0, ran.output
    assert ran.installed == installed


def test_dagger_that_can_not_be_had_is_said(place: Path) -> None:
    """A job goes on with another Dagger, because the right one couldn't be fetched."""
    (place / "bin").mkdir()
    ran = run(place, "sh", "curl() { return 22; }; . .ci/dagger", {"HAS": "v0.1.0"})
    assert ran.code == 22
    assert not ran.calls


def test_github_reads_the_version(place: Path) -> None:
    """GitHub's runner installs another Dagger than the module names."""
    github(place, "nightly", "prove")
    assert (place / "github_output").read_text() == f"version={VERSION}\n"
    for _, _, job in github_jobs():
        steps = [step for step in github_steps(job) if "dagger-for" in step.get("uses", "")]
        assert all(
            step["with"] == {"version": "${{ steps.module.outputs.version }}"} for step in steps
        )


def test_summary_is_shown_on_github(place: Path) -> None:
    """A job's page on GitHub says nothing of what was found."""
    github(place, "nightly", "prove")
    assert (place / "step_summary").read_text() == "summary\n"


def test_scripts_fail_with_their_first_command(place: Path) -> None:
    """The rehearsal goes on after a failure, and a broken job passes here."""
    assert run(place, "sh", "false\ntrue", {}).code == 1
