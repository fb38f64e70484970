"""Where SGLang's code comes from: each who tells its version or commit tells the same.

An editable installation keeps the metadata of the day on which it was made, and images have
gone out whose label named another commit than the code that they held.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from packaging.version import InvalidVersion, Version

from ci.image.listing import Installed, SglangEntry
from ci.report.model import Case
from ci.verdict import Outcome
from ci.versions.same import same

_HEX = re.compile("[0-9a-f]{7,64}")


def origin(listing: Installed, expected: str, revision: str) -> Iterator[Case]:
    """Yield whether SGLang is a whole installation of one version and one commit.

    Args:
        listing: What is installed.
        expected: The version that is asked for; empty for any.
        revision: The commit that the image's label claims; empty where it claims none.
    """
    installed, told = listing.versions.get("sglang", ""), listing.sglang or SglangEntry()
    if told.code_version:
        problem = f"installed {installed or 'none'}, its code says {told.code_version}"
        agree = bool(installed) and same(installed, told.code_version)
        yield _case("sglang's code as installed", "" if agree else problem)
    if _is_development(installed):
        problem = f"{installed} is a development build; --expect sglang={installed} allows it"
        allowed = bool(expected) and same(installed, expected)
        yield _case("sglang is a release", "" if allowed else problem)
    yield from _commit(commits(listing), revision)
    if "sglang" in told.commands:
        problem = "it is missing, and `sglang serve` is how SGLang asks to be started"
        yield _case("bin/sglang is there", "" if told.commands["sglang"] else problem)


def commits(listing: Installed) -> dict[str, str]:
    """Return who tells the commit of SGLang's code, and what they tell."""
    told = listing.sglang.commits if listing.sglang else {}
    local = _local(listing.versions.get("sglang", ""))
    parts = [part for part in local.split(".") if part.startswith("g")]
    named = [*told.items(), *(("version", part) for part in parts)]
    return {name: _plain(commit) for name, commit in named if _HEX.fullmatch(_plain(commit))}


def _commit(told: Mapping[str, str], revision: str) -> Iterator[Case]:
    """Yield whether all commits that are told are the same, as far as they are told."""
    name, labelled = "sglang's commit", _plain(revision)
    if revision and not (told and _HEX.fullmatch(labelled)):
        why = "the installation tells no commit" if not told else "that is no commit"
        yield Case(name=name, outcome=Outcome.SKIPPED, message=f"labelled {revision}: {why}")
        return
    everyone = {"label": labelled, **told} if revision else told
    if len(everyone) > 1:
        longest = max(everyone.values(), key=len)
        agree = all(longest.startswith(commit) for commit in everyone.values())
        problem = ", ".join(f"{teller} {commit}" for teller, commit in everyone.items())
        yield _case(name, "" if agree else f"they differ: {problem}")


def _plain(commit: str) -> str:
    """Return a commit as git prints it: setuptools-scm puts a `g` before it."""
    return commit.strip().lower().removeprefix("g")


def _local(version: str) -> str:
    try:
        return Version(version).local or ""
    except InvalidVersion:
        return ""


def _is_development(version: str) -> bool:
    try:
        return Version(version).is_devrelease
    except InvalidVersion:
        return False


def _case(name: str, problem: str) -> Case:
    outcome = Outcome.FAILED if problem else Outcome.PASSED
    return Case(name=name, outcome=outcome, message=problem)
