"""The command line that starts a container, as podman and docker take it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ci.boot.model_files import Model
from ci.deploy.targets.inspected import labels
from ci.deploy.targets.program import Program
from ci.deploy.world import Release
from ci.platform.records import labelled
from ci.settings import Settings
from ci.settings.model import ServerSettings

INNER_PORT = 30_000
"""Where a server listens inside of a container that has a network of its own."""
_MODEL = "/sglang-ci-model"
_LOG = {
    "podman": ("--log-driver", "k8s-file", "--log-opt", "max-size=64mb"),
    "docker": (
        *("--log-driver", "json-file", "--log-opt", "max-size=64m"),
        *("--log-opt", "max-file=3"),
    ),
}
_CLIENTS_OWN = ("PATH", "HOME", "DOCKER_", "CONTAINER", "XDG_", "LC_ALL")
"""How variables begin that the program itself would obey."""


@dataclass(frozen=True)
class ContainerOptions:
    """What the containers of an environment are given of their machine.

    Args:
        ports: The port of a slot on the host; one that isn't named gets a free one.
        gpus: Indices of the GPUs that a slot gets.
        shared_memory: The size of /dev/shm, which servers with several GPUs need.
        network: `published` shows a port on `server.host` alone; `host` shares the host's.
        beside: Whether a release is started beside another, and not in its place.
    """

    ports: Mapping[str, int] = field(default_factory=dict)
    gpus: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    shared_memory: str = "8g"
    network: Literal["published", "host"] = "published"
    beside: bool = True


@dataclass(frozen=True)
class ContainerStart:
    """One start of a container.

    Args:
        program: What runs it.
        settings: How its server is started.
        options: What it gets of its machine.
        name: Its name.
        environment: The environment that is deployed to.
        slot: The slot that it is.
        release: What it runs.
        port: Its port on the host.
        model: What it serves; None for the image's own.
        number: Its place in the order of starts.
    """

    program: Program
    settings: Settings
    options: ContainerOptions
    name: str
    environment: str
    slot: str
    release: Release
    port: int
    model: Model | None
    number: int = 0

    @property
    def address(self) -> str:
        """Where it listens, as seen from this host."""
        seen = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104
        return f"{_bracketed(seen.get(self._at.host, self._at.host))}:{self.port}"

    def words(self) -> list[str]:
        """Return what follows the program's name.

        The values of variables don't stand there, where anybody on the machine reads them.
        """
        return [
            *("run", "--detach", "--pull", "never", "--restart", "no", "--name", self.name),
            *("--stop-timeout", str(math.ceil(self._at.stop_grace))),
            *("--shm-size", self.options.shared_memory),
            *_LOG[self.program.kind],
            *labels(self.environment, self.slot, self.address, self.release, self.number),
            *self._gpus(),
            *self._network(),
            *self._mount(),
            *(word for name in self._named() for word in ("--env", name)),
            self.release.reference,
            *self.settings.launch_flags(),
        ]

    def variables(self) -> dict[str, str]:
        """Return the variables that the program itself needs, to hand them on."""
        given = self._given().items()
        return {name: text for name, text in given if not name.startswith(_CLIENTS_OWN)}

    def _given(self) -> dict[str, str]:
        labels = self.release.labels(self.environment, self.slot)
        return labelled(self._at.environment, labels)

    @property
    def _at(self) -> ServerSettings:
        return self.settings.server

    def _named(self) -> list[str]:
        given = self._given().items()
        shown = [
            f"{name}={text}" if name.startswith(_CLIENTS_OWN) else name for name, text in given
        ]
        own = (f"LOG_LEVEL={self._at.log_level}", f"LOG_FORMAT={self._at.log_format}")
        return [*own, f"START_METHOD={self._at.start_method}", *shown]

    def _network(self) -> tuple[str, ...]:
        if self.options.network == "host":
            own = ("--env", f"HOST={self._at.host}", "--env", f"PORT={self.port}")
            return ("--network", "host", *own)
        inner = ("--env", "HOST=0.0.0.0", "--env", f"PORT={INNER_PORT}")
        shown = f"{_bracketed(self._at.host)}:{self.port}:{INNER_PORT}"
        return ("--publish", shown, *inner)

    def _gpus(self) -> tuple[str, ...]:
        indices = self.options.gpus.get(self.slot, ())
        if self.program.kind == "podman":
            return tuple(w for one in indices for w in ("--device", f"nvidia.com/gpu={one}"))
        named = ",".join(map(str, indices))
        return ("--gpus", f'"device={named}"') if indices else ()

    def _mount(self) -> tuple[str, ...]:
        """Return how the model is brought in; a hub's folder is whole with what it links to."""
        if self.model is None:
            return ()
        path = self.model.path.absolute()
        shared = path.parents[1] if path.parent.name == "snapshots" else path
        inside = Path(_MODEL) / path.relative_to(shared)
        mount = f"type=bind,source={shared},target={_MODEL},readonly"
        return ("--mount", mount, "--env", f"MODEL_PATH={inside}")


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
