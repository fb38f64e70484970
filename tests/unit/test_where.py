"""Who does something to a release, and where: by the variables of each CI."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ci.release.where import Where

pytestmark = pytest.mark.unit

GITHUB = {
    "GITHUB_ACTIONS": "true",
    "GITHUB_ACTOR": "author",
    "GITHUB_TRIGGERING_ACTOR": "alice",
    "GITHUB_SERVER_URL": "https://github.com",
    "GITHUB_REPOSITORY": "team/project",
    "GITHUB_RUN_ID": "42",
    "GITHUB_RUN_ATTEMPT": "2",
    "GITHUB_SHA": "c0ffee",
}
GITLAB = {
    "GITLAB_CI": "true",
    "GITLAB_USER_LOGIN": "bob",
    "CI_JOB_URL": "https://gitlab.example:8443/team/project/-/jobs/7",
    "CI_COMMIT_SHA": "c0ffee",
}
JENKINS = {
    "JENKINS_URL": "https://jenkins.example/",
    "BUILD_URL": "https://jenkins.example/job/x/3/",
    "BUILD_USER_ID": "carol",
    "GIT_COMMIT": "c0ffee",
}


def nobody() -> str:
    """Stand for a container's user, whose number has no name."""
    raise KeyError("getpwuid(): uid not found: 10001")


def here(environ: dict[str, str], user: Callable[[], str] = lambda: "me") -> Where:
    """Return where these variables say that we are."""
    return Where.of(environ, user)


@pytest.mark.parametrize(
    ("environ", "where", "builder"),
    [
        (
            GITHUB,
            Where(
                "alice",
                "https://github.com/team/project/actions/runs/42/attempts/2",
                "github",
                "c0ffee",
            ),
            "https://github.com",
        ),
        (
            GITLAB,
            Where("bob", GITLAB["CI_JOB_URL"], "gitlab", "c0ffee"),
            "https://gitlab.example:8443",
        ),
        (
            JENKINS,
            Where("carol", JENKINS["BUILD_URL"], "jenkins", "c0ffee"),
            "https://jenkins.example",
        ),
        ({}, Where("me"), "urn:sglang-ci:builder:local"),
        ({"GITHUB_ACTIONS": "", "CI": "true"}, Where("me"), "urn:sglang-ci:builder:local"),
    ],
    ids=["github", "gitlab", "jenkins", "local", "unset"],
)
def test_each_ci_says_who_and_where(environ: dict[str, str], where: Where, builder: str) -> None:
    """A release record names nobody, or somebody else."""
    assert here(environ) == where
    assert here(environ).builder == builder


def test_whoever_started_it_again_did_it() -> None:
    """A re-run by one person is recorded as done by another."""
    assert here(GITHUB).actor == "alice"
    assert here({**GITHUB, "GITHUB_TRIGGERING_ACTOR": ""}).actor == "author"


def test_what_a_container_is_told_comes_first() -> None:
    """Inside a container, where a CI's variables can't be seen, nobody knows who released."""
    told = {"SGLANG_CI_ACTOR": "dave", "SGLANG_CI_BUILD_URL": "https://ci.example/run/1"}
    assert here(told) == Where("dave", "https://ci.example/run/1", "ci")
    assert here({**GITLAB, **told}) == Where(
        "dave", told["SGLANG_CI_BUILD_URL"], "gitlab", "c0ffee"
    )
    assert here({"SGLANG_CI_ACTOR": "dave"}) == Where("dave")


def test_a_user_without_a_name_is_no_crash() -> None:
    """A release from a container ends in a traceback."""
    assert here({}, nobody) == Where("unknown")


def test_half_told_is_told_as_far_as_it_goes() -> None:
    """A runner that leaves out a variable gets a URL that leads nowhere, or a traceback."""
    where = here({"GITHUB_ACTIONS": "true", "GITHUB_RUN_ID": "42"})
    assert where == Where("me", "", "github")
    assert where.builder == "urn:sglang-ci:builder:github"


@pytest.mark.parametrize(
    "url", ["http://[", "http://x:y:z@host/run", "https://user:s3cret@ci.example/1", "ftp://x", "x"]
)
def test_a_url_that_names_no_server_names_none(url: str) -> None:
    """A malformed URL ends a release, or a password in it lands in the provenance."""
    assert here({"SGLANG_CI_BUILD_URL": url}).builder == "urn:sglang-ci:builder:ci"


NAMES = sorted({*GITHUB, *GITLAB, *JENKINS, "SGLANG_CI_ACTOR", "SGLANG_CI_BUILD_URL"})


@given(st.dictionaries(st.sampled_from(NAMES), st.text() | st.from_regex(r"https?://\S+")))
def test_any_variables_say_something(environ: dict[str, str]) -> None:
    """A strange value in a CI's variable ends a release in a traceback."""
    where = here(environ)
    assert where.actor
    assert where.builder
    assert Where(**where.to_dict()) == where
