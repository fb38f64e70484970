"""Who asks, as the host sees them: an order, then signs of life, and perhaps a signal."""

from __future__ import annotations

import os
import select
import signal
import threading
import time

from ci.deploy.remote.events import Lines
from ci.deploy.remote.order import BEAT, MOST_SENT, SILENCE, STOPS

_BLOCK = 65_536
GONE = "SIGTERM"
"""How a run is ended that nobody waits for any more."""


class Caller:
    """The other end of a descriptor.

    Args:
        descriptor: What it says.
        lines: What it is told.
    """

    def __init__(self, descriptor: int, lines: Lines) -> None:
        self._descriptor, self._lines = descriptor, lines
        self._held = b""
        self._over = False

    def order(self) -> bytes:
        """Return the first line; empty where none comes in time."""
        end = time.monotonic() + SILENCE
        while b"\n" not in self._held and len(self._held) <= MOST_SENT:
            if not self._heard(end - time.monotonic()):
                return b""
        line, _, self._held = self._held.partition(b"\n")
        return line

    def watch(self) -> None:
        """Give signs of life from now on, and end this process's run where they ask, or go."""
        threading.Thread(target=self._watch, daemon=True).start()

    def over(self) -> None:
        """The run is over: nothing is left that could be ended."""
        self._over = True

    def _watch(self) -> None:
        end = time.monotonic() + SILENCE
        while not self._over:
            self._lines.write("")
            if self._ready(BEAT):
                if not self._heard(0):
                    break
                end = time.monotonic() + SILENCE
            elif time.monotonic() > end:
                break
            *lines, self._held = self._held.split(b"\n")
            for line in lines:
                if line.decode("ascii", "replace") in STOPS:
                    self._end(line.decode())
        self._end(GONE)

    def _end(self, name: str) -> None:
        if not self._over:
            os.kill(os.getpid(), signal.Signals[name])

    def _heard(self, seconds: float) -> bool:
        """Take in what they say; return whether anything came."""
        if not self._ready(seconds):
            return False
        chunk = os.read(self._descriptor, _BLOCK)
        self._held += chunk
        return bool(chunk)

    def _ready(self, seconds: float) -> bool:
        return bool(select.select([self._descriptor], [], [], max(0.0, seconds))[0])
