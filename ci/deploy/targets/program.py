"""podman or docker, as a command: its output, and its refusals as one line with their cure."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from subprocess import PIPE, STDOUT, CompletedProcess
from typing import Literal

import anyio

from ci.concurrency import pipe
from ci.deploy.targets.detached import apart
from ci.errors import TargetFault
from ci.secrets import veil

SECONDS = 60.0
"""Most seconds of a command that moves no image."""
TAKEN = r"name .* is already in use"
"""How it refuses a container whose name another one has."""

_CURES = (
    (
        r"Cannot connect to the Docker daemon|daemon running|connect: no such file",
        "its daemon isn't running here: start it",
    ),
    (r"permission denied.*(docker|podman)\.sock", "let this user use its daemon"),
    (r"no space left on device", "make room where it keeps its images"),
    (
        r"x509|certificate|HTTP response to HTTPS client|tls:",
        "its certificate isn't trusted: set [registry] ca_file (docker: put it below "
        "/etc/docker/certs.d), or plain_http (docker: insecure-registries)",
    ),
    (
        r"unauthorized|authentication required|no basic auth"
        r"|access to the resource is denied|forbidden",
        "the registry refuses this user: give REGISTRY_USERNAME and REGISTRY_PASSWORD",
    ),
    (
        r"manifest unknown|name unknown|manifest for .* not found|repository .* not found",
        "its registry has no such image: push or promote it again",
    ),
    (
        r"no such host|connection refused|i/o timeout|network is unreachable|EOF$",
        "the registry isn't reached from here: look at its address and the network",
    ),
    (
        r"address already in use|port is already allocated",
        "the port is taken: stop what listens there, or name another",
    ),
    (
        r"could not select device driver|unresolvable CDI|unknown device|nvidia-container-cli"
        r"|no such device|error gathering device",
        "there is no such GPU for containers: look at its index, and at NVIDIA's container "
        "toolkit (podman: nvidia-ctk cdi generate)",
    ),
    (TAKEN, "another start is under way: wait for it, and repeat it"),
    (r"exec format error|no matching manifest", "the image is of another architecture"),
)


@dataclass(frozen=True)
class Program:
    """The command that runs containers.

    What it starts outlives the job of CI that called it, as podman's monitors have its variables.

    Args:
        name: podman or docker: a name that is looked up in PATH, or a path.
        kind: Whose command line it has.
    """

    name: str
    kind: Literal["podman", "docker"]

    async def run(
        self,
        *words: str,
        seconds: float = SECONDS,
        given: bytes = b"",
        variables: Mapping[str, str] | None = None,
    ) -> str:
        """Run it, and return its standard output; arguments as of `ask`.

        Raises:
            TargetFault: It is missing, too slow, or refuses.
        """
        done = await self.ask(words, seconds=seconds, given=given, variables=variables)
        if done.returncode:
            raise self.refused(words[0], done)
        return done.stdout.decode("utf-8", "replace")

    async def ask(
        self,
        words: Sequence[str],
        *,
        seconds: float = SECONDS,
        given: bytes = b"",
        variables: Mapping[str, str] | None = None,
        together: bool = False,
    ) -> CompletedProcess[bytes]:
        """Run it, and return how it ended.

        Args:
            words: What follows its name.
            seconds: Most seconds that it may take.
            given: Its standard input, shorter than a pipe is.
            variables: Further variables of its own.
            together: Whether what it says on both of its outputs is wanted in its order.

        Raises:
            TargetFault: It is missing, or too slow.
        """
        try:
            with anyio.fail_after(seconds), pipe() as (reader, writer):
                writer.write(given)
                writer.close()
                return await anyio.run_process(
                    [self.name, *words],
                    stdin=reader,
                    stderr=STDOUT if together else PIPE,
                    check=False,
                    env=apart(os.environ) | {"LC_ALL": "C", **(variables or {})},
                )
        except TimeoutError:
            problem = f"{self.name} {words[0]} took over {seconds:g} s: look at what it waits for"
            raise TargetFault(problem) from None
        except OSError as error:
            problem = f"{self.name} can't be run ({error.strerror}): install it, or name the other"
            raise TargetFault(problem) from error

    def refused(self, word: str, done: CompletedProcess[bytes]) -> TargetFault:
        """Return the error of a run that ended badly: its last line, and what helps."""
        said = veil.veiled((done.stderr or done.stdout or b"").decode("utf-8", "replace"))
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        told = [line for line in lines if not line.startswith(("See '", "Run '"))]
        last = told[-1] if told else f"exit code {done.returncode}"
        cure = cure_of(said)
        return TargetFault(f"{self.name} {word}: {last}{f': {cure}' if cure else ''}", details=said)


def cure_of(said: str) -> str:
    """Return what helps against what the program says; empty where that isn't known."""
    found = (cure for pattern, cure in _CURES if re.search(pattern, said, re.IGNORECASE))
    return next(found, "")
