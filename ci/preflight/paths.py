"""Is everything there that the settings name?"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from functools import partial

from ci.errors import UsageError
from ci.preflight.asked import Intent, PreflightQuestion
from ci.settings.paths import UNSEEN, NamedPath, named

_HUB = re.compile(r"[\w.-]+/[\w.-]+")
_RELEASE = {"registry", "trust"}


def questions(asked: Intent) -> Iterator[PreflightQuestion]:
    """Yield a question for every path that is needed before the run, and what lies there."""
    uses = {"server"}
    uses |= _RELEASE if asked.publish_to or asked.everything else set()
    uses |= {"host"} if asked.everything and not asked.container else set()
    for one in named(asked.settings):
        if one.mark.use in uses and one.mark.kind != "program":
            yield PreflightQuestion(_name(asked, one), partial(look, asked, one))


def _name(asked: Intent, one: NamedPath) -> str:
    """Return the question's name; where a setting has several paths, with the path."""
    several = sum(other.key == one.key for other in named(asked.settings)) > 1
    return f"{one.key} {one.told(asked.base)}" if several else one.key


def look(asked: Intent, one: NamedPath) -> str:
    """Look for a path; nothing more is worth knowing of one that is there.

    Raises:
        UsageError: It isn't there, is something else, or can't be read.
    """
    told, kind = one.told(asked.base), one.mark.kind
    fits = {"folder": one.path.is_dir, "file": one.path.is_file}.get(kind, one.path.exists)
    if fits():
        if not os.access(one.path, os.R_OK | (os.X_OK if one.path.is_dir() else 0)):
            raise UsageError(f"{told} can't be read: let user id {os.getuid()} read it")
        return ""
    if asked.container:
        raise UsageError(f"{told} {UNSEEN}; {one.cure(asked.base)}")
    if one.key == "model.path" and _HUB.fullmatch(told) and not one.path.exists():
        raise UsageError(
            f"there is no folder {told}, and a hub's model needs its revision: "
            f"{told}@REVISION, a commit or tag"
        )
    problem = f"is no {kind}" if one.path.exists() else "isn't there"
    wanted = "file" if kind == "file" else "folder"
    raise UsageError(f"{one.path} {problem}; name a {wanted} that is")
