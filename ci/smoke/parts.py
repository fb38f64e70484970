"""Which cases run in which process: the packaged suite in one, each folder of a user's in one.

So a conftest, a fixture, a hook or a module's name reaches nothing outside of its own folder.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ci.smoke import SUITE


@dataclass(frozen=True)
class SuitePart:
    """The cases of one process.

    Args:
        paths: Folders and files, absolute.
        title: What a person calls it; empty for the packaged suite.
        place: What tells its files from those of other parts; empty where nothing is needed.
        ambiguous: Names of files that other parts have as well.
    """

    paths: tuple[Path, ...]
    title: str = ""
    place: str = ""
    ambiguous: frozenset[str] = frozenset()

    @property
    def packaged(self) -> bool:
        """Whether this is the suite of this package, which nothing outside may change."""
        return not self.title

    @property
    def folder(self) -> Path:
        """The folder that the names of its files count from."""
        return self.paths[0].parent if self.paths[0].is_file() else self.paths[0]

    def name(self, case: str) -> str:
        """Return a case's name, with its folder where another part has a file of that name."""
        file = Path(case.partition("::")[0]).name
        return f"{self.place}/{case}" if file in self.ambiguous else case


def parts(directories: Iterable[Path], *, builtin: bool) -> tuple[SuitePart, ...]:
    """Return the parts of a run, the packaged suite first.

    Args:
        directories: The user's folders and files; one that lies in another belongs to its part.
        builtin: Whether the packaged suite is a part.
    """
    paths = tuple(dict.fromkeys(Path(os.path.abspath(path)) for path in directories))  # noqa: PTH100
    roots = [path for path in paths if not any(other in path.parents for other in paths)]
    common = Path(os.path.commonpath([root.parent for root in roots])) if roots else Path()
    twice = _twice(roots)
    theirs = [
        SuitePart(
            paths=(root, *(path for path in paths if root in path.parents)),
            title=str(root.relative_to(common)),
            place=str((root.parent if root.is_file() else root).relative_to(common)),
            ambiguous=twice,
        )
        for root in roots
    ]
    return (*([SuitePart((SUITE,))] if builtin else []), *theirs)


def _twice(roots: list[Path]) -> frozenset[str]:
    """Return the names of files that lie in more than one of the roots."""
    names = Counter(
        name
        for root in roots
        for name in ({root.name} if root.is_file() else {one.name for one in root.rglob("*.py")})
    )
    return frozenset(name for name, count in names.items() if count > 1)
