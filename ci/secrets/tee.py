"""Copies its input to its output, and veiled to a file: `python -m ci.secrets.tee FLAG… FILE`.

FLAG… are those of whose output it is; secrets in them, and in the environment, are veiled by their
own texts too. Where nobody reads its output any more, or the file can't be written, it goes on with
the other, as a program that writes to it must never wait.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress

from ci.secrets.files import Flow
from ci.secrets.veil import learn_environment, learn_flags

_CHUNK = 65_536


def main(*arguments: str) -> None:
    """Copy until the input ends."""
    *flags, path = arguments
    learn_environment(os.environ)
    learn_flags(flags)
    flow, file = Flow(), os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    while chunk := os.read(sys.stdin.fileno(), _CHUNK):
        with suppress(OSError):
            _write(sys.stdout.fileno(), chunk)
        with suppress(OSError):
            _write(file, flow.add(chunk))
    with suppress(OSError):
        _write(file, flow.end())


def _write(descriptor: int, content: bytes) -> None:
    while content:
        content = content[os.write(descriptor, content) :]


if __name__ == "__main__":
    main(*sys.argv[1:])
