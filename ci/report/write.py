"""The report's folder: opened by one run at a time, written whole, read back strictly.

What stands in the folder is always one run's: files of an earlier run are removed when
the folder is opened, and each file appears under its name only when it is complete.
"""

from __future__ import annotations

import errno
import json
import os
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Self

from pydantic import ValidationError

from ci.concurrency import lock
from ci.errors import ReportUnwritable, UsageError
from ci.report import html, junit, markdown
from ci.report.model import SCHEMA_VERSION, Report
from ci.secrets import files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

REPORT_JSON = "report.json"
INDEX_HTML = "index.html"

_LOCK = ".lock"
_CURES = {
    errno.ENOSPC: "free some space or ",
    errno.EDQUOT: "free some space or ",
    errno.EACCES: "make it writable or ",
    errno.EPERM: "make it writable or ",
    errno.EROFS: "make it writable or ",
}


def to_json(report: Report) -> str:
    """Return `report` as JSON in ASCII, which holds any text that Python can hold."""
    return json.dumps(report.model_dump(), default=datetime.isoformat, indent=2) + "\n"


_RENDERERS: dict[str, Callable[[Report], str]] = {
    REPORT_JSON: to_json,
    "junit.xml": junit.render,
    "summary.md": markdown.render,
    INDEX_HTML: html.render,
}


def rendered(report: Report) -> dict[str, str]:
    """Return file name to content of a report's four forms."""
    return {name: render(report) for name, render in _RENDERERS.items()}


class ReportFolder:
    """A folder that one run has to itself until it is closed."""

    def __init__(self, path: Path, held: ExitStack) -> None:
        """Keep the folder and what holds its lock; use `open` instead."""
        self.path = path
        self._held = held

    @classmethod
    def open(cls, path: Path, leaves: Iterable[str] = ()) -> Self:
        """Make the folder where it is missing, lock it and remove an earlier run's files.

        Args:
            path: The folder.
            leaves: Patterns of the files that runs leave there beside the report.

        Raises:
            ReportUnwritable: It is no folder, is in use by another run, or can't be written.
        """
        path = path.absolute()
        with _explained("can't use report folder", path):
            path.mkdir(parents=True, exist_ok=True)
            folder = cls(path, _locked(path))
        try:
            with _explained("can't write to report folder", path):
                _temporary(path / REPORT_JSON).touch()
                for name in _RENDERERS:
                    (path / name).unlink(missing_ok=True)
                    _temporary(path / name).unlink(missing_ok=True)
                for file in [file for pattern in leaves for file in path.glob(pattern)]:
                    file.unlink(missing_ok=True)
        except ReportUnwritable:
            folder.close()
            raise
        return folder

    def write(self, report: Report) -> None:
        """Write `report` in its four forms, each file whole or not at all.

        Raises:
            ReportUnwritable: A file could not be written; those before it are complete.
        """
        for name, content in rendered(report).items():
            _write_whole(self.path / name, content)

    def close(self) -> None:
        """Give the folder free; does nothing a second time."""
        self._held.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def load(path: Path) -> Report:
    """Read a report back from `report.json`, or from the folder that holds it.

    Verdicts in the file are not believed but found again from the cases.

    Raises:
        UsageError: The file can't be read, isn't a report, or is of another major version.
    """
    file = path / REPORT_JSON if path.is_dir() else path
    try:
        data = json.loads(file.read_bytes())
    except OSError as error:
        raise UsageError(f"{file}: can't be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{file}: isn't JSON: {error}") from error
    _check_version(file, data)
    try:
        return Report.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UsageError(f"{file}: isn't a report: {where}: {first['msg']}") from error


def _check_version(file: Path, data: object) -> None:
    version = data.get("schema_version") if isinstance(data, dict) else None
    if not isinstance(version, str):
        raise UsageError(f"{file}: isn't a report: no schema_version")
    if version.partition(".")[0] != SCHEMA_VERSION.partition(".")[0]:
        raise UsageError(
            f"{file}: has schema version {version}, and {SCHEMA_VERSION} is read here: "
            "use the sglang-ci that wrote it"
        )


def _locked(folder: Path) -> ExitStack:
    """Return what holds the folder's lock; closing it removes the lock file and gives it back.

    A lock file may be removed by its holder between our opening and locking it: only a
    lock on the file that still stands in the folder counts.
    """
    file = folder / _LOCK
    while True:
        with ExitStack() as stack:
            held = stack.enter_context(lock(file, 0o644))
            if held is None:
                raise _in_use(folder)
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(held), file.stat()):
                    os.ftruncate(held, 0)
                    os.pwrite(held, f"{os.getpid()}\n".encode(), 0)
                    stack.callback(_removed, file)
                    return stack.pop_all()


def _removed(file: Path) -> None:
    with suppress(OSError):
        file.unlink()


def _in_use(folder: Path) -> ReportUnwritable:
    """Return the message to a second run; the first one has left its process id in the lock."""
    holder = ""
    with suppress(OSError):
        holder = (folder / _LOCK).read_text("utf-8", "replace")[:20].strip()
    return ReportUnwritable(
        f"report folder {folder} is in use by another run (pid {holder or 'unknown'}); "
        "pass another --report-dir"
    )


def _temporary(file: Path) -> Path:
    return file.with_name(f".{file.name}.part")


def _write_whole(file: Path, content: str) -> None:
    """Put `content` under its name in one step; a failure leaves neither old nor half file."""
    part = _temporary(file)
    try:
        with _explained("can't write report file", file):
            files.write(part, content)
            part.replace(file)
    except ReportUnwritable:
        with suppress(OSError):
            part.unlink(missing_ok=True)
            file.unlink(missing_ok=True)
        raise


@contextmanager
def _explained(what: str, path: Path) -> Iterator[None]:
    """Turn the system's errors into one line on what, where, why and what to do."""
    try:
        yield
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        if isinstance(error, FileExistsError | NotADirectoryError):
            reason = "not a folder"
        place = "" if error.filename in (None, str(path)) else f"{error.filename}: "
        cure = _CURES.get(error.errno or 0, "")
        raise ReportUnwritable(
            f"{what} {path}: {place}{reason}; {cure}pass another --report-dir"
        ) from error
