"""The target `container` on a real dockerd, with a real registry that wants a password."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from ci.deploy.targets.arguments import ContainerOptions
from ci.deploy.targets.container import ContainerTarget
from ci.deploy.targets.program import Program
from ci.deploy.world import Release, SlotSeen
from ci.errors import TargetFault
from ci.registry.access import Access
from ci.settings import ServerSettings, Settings
from tests.live.docker import Docker, own_docker
from tests.registries import Running, docker_registry
from tests.target_contract import BLUE, Rig, TargetContract

pytestmark = [pytest.mark.live, pytest.mark.long, pytest.mark.anyio]


@dataclass
class DockerRig(Rig):
    """A Docker daemon."""

    docker: Docker
    registry: Running
    folder: Path
    release: Release

    def target(self, *, deaf: bool = False, last_words: str = "") -> ContainerTarget:
        """Return the target whose servers are like that."""
        environment = {"DEAF": "yes" * deaf, "LAST_WORDS": last_words}
        settings = Settings(server=ServerSettings(environment=environment, stop_grace=2))
        program, access = Program("docker", "docker"), self.registry.access
        return ContainerTarget(program, "test", self.folder, settings, access)


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerRig]:
    """Yield a daemon, and a registry that has a release."""
    folder = tmp_path_factory.mktemp("docker")
    with (
        own_docker(folder / "own") as docker,
        docker_registry(folder, login=True) as registry,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name, value in docker.variables.items():
            patch.setenv(name, value)
        reference = docker.pushed(registry)
        release = Release(reference.partition("@")[2], reference, "0.5.23", "one")
        yield DockerRig(docker, registry, folder / "slots", release)


@pytest.fixture
async def rig(machine: DockerRig, tmp_path: Path) -> AsyncIterator[DockerRig]:
    """Yield the machine with the image there and no container, and leave it so."""
    rig = replace(machine, folder=tmp_path / "slots")
    await rig.target().fetch(rig.release)
    yield rig
    if ids := machine.docker.run("ps", "--all", "--quiet").split():
        machine.docker.run("rm", "--force", *ids)


class TestDocker(TargetContract):
    """Containers of a real dockerd."""


async def test_why_an_image_can_not_be_had(machine: DockerRig, tmp_path: Path) -> None:
    """A deploy fails by a page of docker's output, and nobody knows what to do."""
    release, access = machine.release, machine.registry.access
    rig = replace(machine, folder=tmp_path / "slots")
    machine.docker.run("rmi", "--force", release.reference, check=False)
    missing = release.reference.replace(release.digest, f"sha256:{'0' * 64}")
    gone = release.reference.replace(machine.registry.address, "127.0.0.1:1")
    cases = (
        (Access(plain_http=True), release.reference, "REGISTRY_USERNAME"),
        (access, missing, "promote it again"),
        (access, gone, "the registry isn't reached from here"),
    )
    for given, reference, cure in cases:
        target = replace(rig.target(), access=replace(given, attempts=1))
        with pytest.raises(TargetFault, match=cure):
            await target.fetch(replace(release, reference=reference))


async def test_a_taken_port_is_told_and_nothing_is_left(rig: DockerRig) -> None:
    """A container that could not be started blocks its slot."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        options = ContainerOptions(ports={BLUE: taken.getsockname()[1]})
        with pytest.raises(TargetFault, match="the port is taken"):
            await replace(rig.target(), options=options).start(BLUE, rig.release)
    assert (await rig.target().seen())[BLUE] == SlotSeen(BLUE)


async def test_a_gpu_that_is_not_there_is_told(rig: DockerRig) -> None:
    """A wrong index of a GPU reads as a bug of Docker's."""
    options = ContainerOptions(gpus={BLUE: (7,)})
    with pytest.raises(TargetFault, match="no such GPU for containers"):
        await replace(rig.target(), options=options).start(BLUE, rig.release)


async def test_a_daemon_that_does_not_run_is_told(
    rig: DockerRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stopped daemon reads as an empty machine, on which everything is started anew."""
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/socket")
    with pytest.raises(TargetFault, match="its daemon isn't running here"):
        await rig.target().seen()


async def test_a_proof_is_not_that_of_a_server_started_again(rig: DockerRig) -> None:
    """Somebody's `docker restart` gives a server that nobody has proven the proof of another."""
    await rig.target().start(BLUE, rig.release)
    await rig.target().mark(BLUE)
    rig.docker.run("restart", "--time", "1", "sglang-ci-test-blue")
    assert not (await rig.target().seen())[BLUE].proven
