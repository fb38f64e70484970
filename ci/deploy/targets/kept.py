"""The folder of a target: what it keeps of its slots, and who may change one at the moment."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ci.boot.log import LAST_BYTES
from ci.concurrency import lock
from ci.errors import SglangCiError, TargetFault
from ci.secrets import files
from ci.secrets.veil import ending

SHOWN_LINES = 200
"""Most lines of a log that are returned."""


@dataclass(frozen=True)
class Kept:
    """The folder of a target, which only its owner may read.

    Args:
        folder: The folder; made where it is missing.
    """

    folder: Path

    def slot(self, name: str) -> Path:
        """Return the folder of a slot."""
        return self.folder / name

    @contextmanager
    def changing(self, name: str) -> Iterator[None]:
        """Let nobody else change a slot, or what else has a name, while the context lasts.

        The lock of a process that was killed is free at once.

        Raises:
            TargetFault: Somebody else changes it now, or the folder can't be written.
        """
        with self.written():
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with lock(self.folder / f"{name}.lock") as held:
                if held is None:
                    raise TargetFault(f"another process is at work on {name}: wait for it to end")
                yield

    @contextmanager
    def written(self) -> Iterator[None]:
        """Tell what the folder's file system refuses.

        Raises:
            TargetFault: Something can't be written there.
        """
        try:
            yield
        except OSError as error:
            place = error.filename or self.folder
            cure = "make room there, or let this user write it"
            raise TargetFault(f"{place}: {error.strerror or error}: {cure}") from error

    def keep_log(self, slot: str, text: str) -> None:
        """Keep the last log of a slot whose server is taken away, and the one before it."""
        place = self._last(slot)
        with suppress(FileNotFoundError):
            place.replace(place.with_suffix(".log.1"))
        files.write(place, ending(text, LAST_BYTES))

    def last_log(self, slot: str) -> str:
        """Return the last lines of the server that was taken away last; empty where none was."""
        with suppress(FileNotFoundError):
            return shown(self._last(slot).read_text("utf-8", "replace"))
        return ""

    def _last(self, slot: str) -> Path:
        return self.folder / f"{slot}.last.log"

    def remove(self, slot: str) -> None:
        """Remove the folder of a slot."""
        shutil.rmtree(self.slot(slot), ignore_errors=True)


def shown(text: str) -> str:
    """Return the last lines of a log."""
    return "\n".join(text.splitlines()[-SHOWN_LINES:])


@contextmanager
def as_faults() -> Iterator[None]:
    """Make a fault of the target of whatever of ours keeps a server from being started."""
    try:
        yield
    except TargetFault:
        raise
    except SglangCiError as error:
        raise TargetFault(str(error), details=error.details) from error
