"""Standard output and error as the command writes them.

No text shows a secret, and where standard output can't be written that is told, and no verdict.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO, cast

from ci.commands.outcome import EXIT
from ci.secrets.veil import veiled
from ci.verdict import Verdict


class OutputLost(OSError):
    """Standard output can't be written; it has no `errno`, by which Typer would exit with 1."""

    def __init__(self, cause: OSError) -> None:
        """Keep what there is to say, and the exit code."""
        gone = cause.errno == errno.EPIPE
        self.exit_code = 128 + signal.SIGPIPE if gone else EXIT[Verdict.ERROR]
        self.told = "" if gone else f"standard output can't be written: {cause.strerror}"
        super().__init__(self.told)


class VeiledOutput:
    """A text stream in which no secret is shown."""

    def __init__(self, stream: TextIO) -> None:
        """Write to `stream`."""
        self._stream = stream

    def write(self, text: str) -> int:
        """Write `text`, and return its length; nothing is tried where Typer only probes."""
        if text == "":
            return 0
        with self._told():
            self._stream.write(veiled(text))
        return len(text)

    def flush(self) -> None:
        """Hand over what is buffered."""
        with self._told():
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Keep going where a text can't be written: there is nowhere to tell it."""
        with suppress(OSError):
            yield


class CheckedOutput(VeiledOutput):
    """The same that raises `OutputLost` where it can't be written, and is silent then."""

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            with suppress(OSError, ValueError), Path(os.devnull).open("wb") as nothing:
                os.dup2(nothing.fileno(), self._stream.fileno())
            raise OutputLost(error) from error


@contextmanager
def guarded_output() -> Iterator[None]:
    """Veil standard output and error, and check the former, for as long as the context lasts.

    Raises:
        OutputLost: What is still buffered at the end can't be written.
    """
    out, err = sys.stdout, sys.stderr
    sys.stdout = cast("TextIO", CheckedOutput(out))
    sys.stderr = cast("TextIO", VeiledOutput(err))
    try:
        yield
        sys.stdout.flush()
    finally:
        sys.stdout, sys.stderr = out, err
