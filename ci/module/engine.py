"""What the Dagger engine says went wrong, in one line for a person.

Its own message repeats the whole graph as identifiers, thousands of letters each, and says
last or not at all why a command failed.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import dagger

from ci.errors import ImageUnavailable, InfrastructureFault
from ci.secrets.veil import beginning

_IDENTIFIER = re.compile(r"[A-Za-z0-9+/=_-]{60,}")
_TRACE = re.compile(r"\s*\[traceparent:[^\]]*\]")
_INPUTS = "inputs: "
"""Stands between a step of the graph and what it is made of: the cause is behind the last one."""
_LONGEST, _LONGEST_COMMAND = 400, 100
_WITHOUT_GPUS = "GPU support is not enabled"
_TOOLKIT = re.compile(r"nvidia-container-cli: [^\n]*")
"""What NVIDIA's hook says where a container can't get its GPU: none there, or an old driver."""
_UNMADE = '"runc delete container"'
"""All that the engine passes on where the container of a command couldn't be made."""
UNMADE = (
    "the engine couldn't make the container, and says why only in its own log (docker logs of "
    "dagger-engine-…): of a GPU look for nvidia-container-cli there"
)
NO_GPU = (
    "the engine gives its containers none: start it with _EXPERIMENTAL_DAGGER_GPU_SUPPORT=true on "
    "a machine with NVIDIA's container toolkit"
)


@contextmanager
def explained(what: str, kind: type[InfrastructureFault] = ImageUnavailable) -> Iterator[None]:
    """Say of an image or a server that the engine can't make what it is, and why.

    Raises:
        InfrastructureFault: The engine failed in this context; it is of the kind that is given.
    """
    try:
        yield
    except dagger.QueryError as error:  # a traceback of it would print every identifier
        raise kind(f"{what}: {cause(error)}") from None


async def started(service: dagger.Service) -> dagger.Service:
    """Start a server's container.

    Raises:
        InfrastructureFault: The engine can't: it has no GPU for it, say.
    """
    with explained("the server's container can't be started", InfrastructureFault):
        return await service.start()


def cause(error: dagger.QueryError) -> str:
    """Return why the engine failed: of a command that failed, the last line that it printed."""
    if _WITHOUT_GPUS in str(error):
        return f"it wants a GPU, and {NO_GPU}"
    if toolkit := _TOOLKIT.search(_TRACE.sub("", str(error))):
        return _short(toolkit[0], _LONGEST)
    if _UNMADE in str(error):
        return UNMADE
    if isinstance(error, dagger.ExecError):
        said = error.stderr.strip() or error.stdout.strip() or "it printed nothing"
        command = _short(" ".join(error.command), _LONGEST_COMMAND)
        last = _short(said.splitlines()[-1], _LONGEST)
        return f"{command!r} exited with {error.exit_code}: {last}"
    told = _TRACE.sub("", str(error)).rpartition(_INPUTS)[2]
    return _short(_IDENTIFIER.sub("…", told), _LONGEST)


def _short(text: str, most: int) -> str:
    """Return text as one line, shortened at its end."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{beginning(line, most - 1)}…"
