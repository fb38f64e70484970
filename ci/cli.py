"""The entrance of the `sglang-ci` command, and what has to hold before anything is imported.

The packages of a subcommand take up to a second to load. So this file needs nothing but Python,
and sees first that Ctrl-C ends the process quietly, until there is something to unwind
(`ci.commands.outcome`), that there are streams to write to, and a folder to work in.
"""

from __future__ import annotations

import os
import signal
import sys

INTERRUPTED = 128 + signal.SIGINT
NO_FOLDER = 2
_STREAMS = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))
"""Python's names of the first three descriptors, and how each is opened."""


def main() -> None:
    """Run the command and exit; no traceback's exit code ever stands for a verdict."""
    signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))
    _open_streams()
    try:
        os.getcwd()  # noqa: PTH109
    except OSError as error:
        reason = f"the working folder can't be used ({error.strerror})"
        sys.stderr.write(f"sglang-ci: {reason}: change to one that exists\n")
        sys.exit(NO_FOLDER)
    from ci.commands.app import run

    run()


def _open_streams() -> None:
    """Put the null device where a caller has closed a stream.

    Otherwise the next file that is opened gets the stream's descriptor, and what is printed.
    """
    for descriptor, (name, mode) in enumerate(_STREAMS):
        if getattr(sys, name) is None:
            opened = os.open(os.devnull, os.O_RDWR)
            os.dup2(opened, descriptor)
            if opened != descriptor:
                os.close(opened)
            setattr(sys, name, os.fdopen(descriptor, mode))
