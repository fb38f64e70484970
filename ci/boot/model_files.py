"""The model's files: where they lie, and how a hub's are fetched before anything serves.

A server never fetches by itself: it is started offline with a folder.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL, PIPE

import anyio

from ci.errors import ModelUnavailable
from ci.platform import TINY_MODEL
from ci.settings import ModelSettings

FETCH_SECONDS = 3600.0
FLAGS = "launch.flags"
"""File in a model's folder with flags that its server gets."""


def flags_in(text: str) -> tuple[str, ...]:
    """Return the flags in the text of such a file: one a line, but comments."""
    lines = (line.strip() for line in text.splitlines())
    return tuple(line for line in lines if line and not line.startswith("#"))


@dataclass(frozen=True)
class Model:
    """A model that is ready to be served.

    Args:
        path: Its folder.
        label: What the report calls it.
    """

    path: Path
    label: str

    @property
    def flags(self) -> tuple[str, ...]:
        """The launch flags that travel with it, as `launch.sh` reads them."""
        try:
            return flags_in((self.path / FLAGS).read_text("utf-8", "replace"))
        except OSError:
            return ()


async def resolve(settings: ModelSettings) -> Model:
    """Return the model of the settings; a hub's is fetched first.

    Raises:
        ModelUnavailable: The hub can't be reached, or has no such model, or wants a token.
    """
    if settings.path is not None:
        return Model(settings.path, str(settings.path))
    if not settings.name:
        return Model(TINY_MODEL, "the packaged tiny model")
    path = await fetch(settings.name, settings.revision)
    return Model(path, f"{settings.name}@{settings.revision}")


async def fetch(name: str, revision: str) -> Path:
    """Bring a hub model into the local hub cache, and return its folder.

    The token, where the model needs one, is the hub client's own variable HF_TOKEN.

    Raises:
        ModelUnavailable: See `resolve`.
    """
    argv = [sys.executable, "-m", "ci.boot.fetch", name, revision]
    try:
        with anyio.fail_after(FETCH_SECONDS):
            done = await anyio.run_process(argv, stdin=DEVNULL, stderr=PIPE, check=False)
    except TimeoutError as error:
        raise ModelUnavailable(f"{name}: not fetched within {FETCH_SECONDS:g} s") from error
    lines = done.stderr.decode("utf-8", "replace").strip().splitlines() or ["no output"]
    if done.returncode:
        raise ModelUnavailable(f"{name}@{revision}: {lines[-1]}")
    return Path(done.stdout.decode().strip().splitlines()[-1])
