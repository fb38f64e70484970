"""Standard output as the command writes it: what can't be written is told, and is no verdict."""

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
from ci.verdict import Verdict


class OutputLost(OSError):
    """Standard output can't be written; it has no `errno`, by which Typer would exit with 1."""

    def __init__(self, cause: OSError) -> None:
        """Keep what there is to say, and the exit code."""
        gone = cause.errno == errno.EPIPE
        self.exit_code = 128 + signal.SIGPIPE if gone else EXIT[Verdict.ERROR]
        self.told = "" if gone else f"standard output can't be written: {cause.strerror}"
        super().__init__(self.told)


class CheckedOutput:
    """A text stream that raises `OutputLost` where it can't be written, and is silent then."""

    def __init__(self, stream: TextIO) -> None:
        """Write to `stream`."""
        self._stream = stream

    def write(self, text: str) -> int:
        """Write `text`, and return its length; nothing is tried where Typer only probes."""
        if text == "":
            return 0
        with self._told():
            return self._stream.write(text)

    def flush(self) -> None:
        """Hand over what is buffered."""
        with self._told():
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            with suppress(OSError, ValueError), Path(os.devnull).open("wb") as nothing:
                os.dup2(nothing.fileno(), self._stream.fileno())
            raise OutputLost(error) from error


@contextmanager
def checked_output() -> Iterator[None]:
    """Let standard output be checked for as long as the context lasts.

    Raises:
        OutputLost: What is still buffered at the end can't be written.
    """
    stream = sys.stdout
    sys.stdout = cast("TextIO", CheckedOutput(stream))
    try:
        yield
        sys.stdout.flush()
    finally:
        sys.stdout = stream
