"""The folder that cases are written to: the cases, a pytest file that runs them, and coverage."""

from __future__ import annotations

import re
from pathlib import Path

from ci.cases.coverage import Coverage, page
from ci.cases.model import FILE, CaseFile, text
from ci.errors import UsageError
from ci.secrets import files

COVERAGE = "coverage.json"
PAGE = "coverage.md"
MARK = "# Written by sglang-ci generate-cases; cases.json beside it has the cases."
SOURCE = f'''{MARK}
"""Generated cases: programs of SGLang's language, and what must hold of their answers."""

from pathlib import Path

import pytest

from ci.cases.replay import cases, hold


@pytest.mark.parametrize("case", cases(Path(__file__).parent))
def test_generated(case, ask, server):
    """Run the case's program, and hold its properties against the answers."""
    hold(case, ask, server)
'''


def check(folder: Path) -> None:
    """Refuse a folder that holds what isn't ours, before anything is asked of a server.

    Raises:
        UsageError: It does, or it is none.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--out {folder}: is no folder")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / FILE).is_file():
        raise UsageError(f"--out {folder}: holds other files and no {FILE}: name an empty folder")


def write(folder: Path, file: CaseFile, found: Coverage) -> None:
    """Write all files, in place of those of an earlier time.

    Raises:
        UsageError: The folder can't be written.
    """
    content = {
        FILE: text(file),
        source_name(folder): SOURCE,
        COVERAGE: found.model_dump_json(indent=2) + "\n",
        PAGE: page(found),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, said in content.items():
            files.write(folder / name, said)
    except OSError as error:
        raise UsageError(f"--out {folder}: can't be written: {error.strerror}") from error


def source_name(folder: Path) -> str:
    """Return the pytest file's name: pytest tells files of several folders by their names."""
    slug = re.sub(r"\W+", "_", folder.absolute().name.casefold()).strip("_")
    return f"test_{slug or 'cases'}.py"
