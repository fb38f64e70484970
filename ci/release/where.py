"""Who does something to a release, and where: as the CI says, or else this machine's user.

These are claims, as anybody's environment could make them. What makes them count is the
signature over the statement in which they stand.
"""

from __future__ import annotations

import getpass
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace

LOCAL = "local"
ACTOR = "SGLANG_CI_ACTOR"
BUILD_URL = "SGLANG_CI_BUILD_URL"
"""Variables that say it in place of a CI's own, where those can't be seen: in a container."""


@dataclass(frozen=True)
class Where:
    """Who, and where.

    Args:
        actor: The person or account that started it.
        where_url: Page of the run; empty on somebody's machine.
        system: `github`, `gitlab`, `jenkins`, `ci` for another one, or `local`.
        commit: Commit that the run is about; empty where it isn't known.
    """

    actor: str
    where_url: str = ""
    system: str = LOCAL
    commit: str = ""

    @classmethod
    def of(cls, environ: Mapping[str, str], user: Callable[[], str] = getpass.getuser) -> Where:
        """Return what the variables of a CI say; `user` names who sits at this machine."""
        found = next((ci(environ) for seen, ci in _SYSTEMS if environ.get(seen)), cls(""))
        actor = environ.get(ACTOR) or found.actor or _user(user)
        url = environ.get(BUILD_URL) or found.where_url
        system = "ci" if url and found.system == LOCAL else found.system
        return replace(found, actor=actor, where_url=url, system=system)

    @property
    def builder(self) -> str:
        """URI of the machinery that ran it: the CI's server, or this machine."""
        server = re.match(r"(https?://[\w.:-]+)(?:[/?#]|$)", self.where_url)
        return server[1] if server else f"urn:sglang-ci:builder:{self.system}"

    def to_dict(self) -> dict[str, str]:
        """Return it as it stands in statements."""
        return asdict(self)


def _github(environ: Mapping[str, str]) -> Where:
    server, repository, run, attempt = (
        environ.get(f"GITHUB_{name}", "")
        for name in ("SERVER_URL", "REPOSITORY", "RUN_ID", "RUN_ATTEMPT")
    )
    url = f"{server}/{repository}/actions/runs/{run}" if server and repository and run else ""
    again = f"/attempts/{attempt}" if url and attempt else ""
    actor = environ.get("GITHUB_TRIGGERING_ACTOR") or environ.get("GITHUB_ACTOR", "")
    return Where(actor, url + again, "github", environ.get("GITHUB_SHA", ""))


def _gitlab(environ: Mapping[str, str]) -> Where:
    actor, url = environ.get("GITLAB_USER_LOGIN", ""), environ.get("CI_JOB_URL", "")
    return Where(actor, url, "gitlab", environ.get("CI_COMMIT_SHA", ""))


def _jenkins(environ: Mapping[str, str]) -> Where:
    actor = environ.get("BUILD_USER_ID") or environ.get("CHANGE_AUTHOR", "")
    return Where(actor, environ.get("BUILD_URL", ""), "jenkins", environ.get("GIT_COMMIT", ""))


_SYSTEMS: tuple[tuple[str, Callable[[Mapping[str, str]], Where]], ...] = (
    ("GITHUB_ACTIONS", _github),
    ("GITLAB_CI", _gitlab),
    ("JENKINS_URL", _jenkins),
)
"""The variable by which each CI is known, and how to read the others."""


def _user(user: Callable[[], str]) -> str:
    try:
        return user()
    except (OSError, KeyError):  # a container's number without a name
        return "unknown"
