"""Where on this host either side of a comparison runs: cores, GPUs, and who starts first.

What a place gives to whoever runs there would be taken for the image's. So the sides swap their
places with each start, and a coin says who begins.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ci.errors import UsageError


def swapped(seed: int, number: int) -> bool:
    """Return whether the candidate has the first place in a round, counted from 1."""
    return bool((seed + number) % 2)


def cores_of(text: str) -> set[int]:
    """Return the cores that a text such as `0-3,8` names."""
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        found |= set(range(int(first), int(last or first) + 1))
    return found


@contextmanager
def on_cores(cores: Sequence[str], place: int) -> Iterator[None]:
    """Bind what this thread starts meanwhile to the cores of a place; to all where none are named.

    A process keeps the cores of the thread that started it, also when that gets its own back.

    Raises:
        UsageError: This host has no such cores for us.
    """
    if not cores:
        yield
        return
    before = os.sched_getaffinity(0)
    wanted = cores_of(cores[place])
    if not wanted <= before:
        raise UsageError(f"gate.cores: {cores[place]}, but there are {sorted(before)} here")
    os.sched_setaffinity(0, wanted)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
