"""The target `container` on a real podman, with a real registry that wants TLS and a password."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import anyio
import httpx
import psutil
import pytest

from ci.deploy.targets.arguments import ContainerOptions
from ci.deploy.targets.container import ContainerTarget
from ci.deploy.targets.program import Program
from ci.deploy.world import SLOTS, Life, Release, SlotSeen
from ci.errors import TargetFault
from ci.registry.access import Access
from ci.settings import ModelSettings, ServerSettings, Settings
from tests.live.podman import HANG, Podman, own_podman
from tests.registries import Running, docker_registry
from tests.target_contract import BLUE, GREEN, Rig, TargetContract, said, seen_as

pytestmark = [pytest.mark.live, pytest.mark.long, pytest.mark.anyio]


@dataclass
class PodmanRig(Rig):
    """This machine's podman."""

    podman: Podman
    registry: Running
    folder: Path
    release: Release

    def target(self, *, deaf: bool = False, last_words: str = "") -> ContainerTarget:
        """Return the target whose servers are like that."""
        environment = {"DEAF": "yes" * deaf, "LAST_WORDS": last_words}
        settings = Settings(server=ServerSettings(environment=environment, stop_grace=2))
        program, access = Program("podman", "podman"), self.registry.access
        return ContainerTarget(program, "test", self.folder, settings, access)

    async def ready(self, target: ContainerTarget, slot: str = BLUE) -> SlotSeen:
        """Fetch and start the release, and wait until it serves."""
        await target.fetch(self.release)
        await target.start(slot, self.release)
        await said(target, slot, "fired up")
        return (await target.seen())[slot]


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PodmanRig]:
    """Yield a podman, and a registry that has a release."""
    folder = tmp_path_factory.mktemp("podman")
    with (
        own_podman(folder / "own") as podman,
        docker_registry(folder, tls=True, login=True) as registry,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name, value in podman.variables.items():
            patch.setenv(name, value)
        reference = podman.pushed(registry, "good")
        digest = reference.partition("@")[2]
        release = Release(digest, reference, "0.5.23", "one")
        yield PodmanRig(podman, registry, folder / "slots", release)
        shutil.rmtree(folder / "storage")


@pytest.fixture
def rig(machine: PodmanRig, tmp_path: Path) -> Iterator[PodmanRig]:
    """Yield the machine with the image there and no container, and leave it so."""
    machine.podman.run(
        *("pull", "--quiet", f"--cert-dir={machine.podman.folder / 'trusted'}"),
        f"--creds={machine.registry.access.username}:{machine.registry.access.password}",
        machine.release.reference,
    )
    yield replace(machine, folder=tmp_path / "slots")
    machine.podman.run("rm", "--all", "--force", "--time", "0")


@pytest.fixture
def bare(machine: PodmanRig, tmp_path: Path) -> PodmanRig:
    """Return the machine without the image."""
    machine.podman.run("rmi", "--all", "--force", check=False)
    return replace(machine, folder=tmp_path / "slots")


class TestPodman(TargetContract):
    """Containers of a real podman."""


async def test_an_image_is_pulled_by_digest_and_no_password_stays(bare: PodmanRig) -> None:
    """An image is fetched only when the old server was stopped, or its password lies around."""
    await bare.target().fetch(bare.release)
    assert bare.release.digest in bare.podman.run("images", "--digests", "--no-trunc")
    with_tag = replace(bare, registry=replace(bare.registry, address="127.0.0.1:1"))
    await with_tag.target().fetch(bare.release)
    assert [path.name for path in bare.folder.iterdir()] == ["images.lock"]
    assert json.loads((bare.podman.folder / "auth.json").read_text()) == {}


async def test_why_an_image_can_not_be_had(bare: PodmanRig) -> None:
    """A deploy fails by a page of podman's output, and nobody knows what to do."""
    missing = bare.release.reference.replace(bare.release.digest, f"sha256:{'0' * 64}")
    gone = bare.release.reference.replace(bare.registry.address, "127.0.0.1:1")
    access = bare.registry.access
    cases = (
        (Access(ca_file=access.ca_file), bare.release.reference, "REGISTRY_USERNAME"),
        (replace(access, password="mistaken"), bare.release.reference, "REGISTRY_USERNAME"),  # noqa: S106
        (replace(access, ca_file=None), bare.release.reference, r"\[registry\] ca_file"),
        (access, missing, "promote it again"),
        (access, gone, "the registry isn't reached from here"),
    )
    for given, reference, cure in cases:
        target = replace(bare.target(), access=replace(given, attempts=1))
        with pytest.raises(TargetFault, match=cure) as caught:
            await target.fetch(replace(bare.release, reference=reference))
        assert len(str(caught.value).splitlines()) == 1
        assert "mistaken" not in str(caught.value)


async def test_a_full_disk_is_told(bare: PodmanRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pull that can't fit stops a deploy in the middle, or isn't told from another fault."""
    small = bare.folder / "small"
    small.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(small)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:  # noqa: ASYNC221
        pytest.skip("nothing may be mounted here, and a full disk needs a small one")
    try:
        storage = bare.folder / "storage.conf"
        text = (bare.podman.folder / "storage.conf").read_text()
        storage.write_text(text.replace(f"{bare.podman.folder}/", f"{small}/"))
        monkeypatch.setenv("CONTAINERS_STORAGE_CONF", str(storage))
        with pytest.raises(TargetFault, match="are needed: make room"):
            await bare.target().fetch(bare.release)
        monkeypatch.setattr("ci.deploy.targets.room.UNPACKED", 0)
        with pytest.raises(TargetFault, match="make room where it keeps its images"):
            await bare.target().fetch(bare.release)
    finally:
        for place in (small / "graph/overlay", small):
            subprocess.run(["umount", str(place)], check=False, capture_output=True)  # noqa: ASYNC221


async def test_what_a_container_gets(rig: PodmanRig, tmp_path: Path) -> None:
    """A server has another model, flag or variable than the settings say."""
    model = tmp_path / "model"
    model.mkdir()
    own = {"MINE": "a value with = and spaces", "PATH": os.environ["PATH"]}
    server = ServerSettings(environment=own, flags=("--enable-metrics",), stop_grace=3)
    settings = Settings(server=server, model=ModelSettings(path=model, served_name="tiny"))
    target = replace(rig.target(), settings=settings)
    seen = await rig.ready(target)
    assert "--served-model-name tiny --enable-metrics" in await target.log(BLUE)
    async with httpx.AsyncClient() as client:
        told = (await client.get(f"http://{seen.address}/environ")).text
    assert str(("MINE", own["MINE"])) in told
    assert str(("MODEL_PATH", "/sglang-ci-model")) in told
    about = json.loads(rig.podman.run("inspect", "sglang-ci-test-blue"))[0]
    assert about["HostConfig"]["RestartPolicy"]["Name"] in {"", "no"}
    assert about["HostConfig"]["ShmSize"] == 8 * 2**30
    assert about["Config"]["StopTimeout"] == 3
    assert about["HostConfig"]["LogConfig"]["Size"] != ""
    assert about["Mounts"][0]["RW"] is False
    labels = about["Config"]["Labels"]
    assert labels["sglang-ci.digest"] == rig.release.digest
    assert labels["sglang-ci.slot"] == BLUE


async def test_a_job_s_end_and_its_secrets_are_not_the_container_s(
    rig: PodmanRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Jenkins or GitHub's runner kills a container's monitor, or it keeps a release's password."""
    for name in ("BUILD_ID", "RUNNER_TRACKING_ID", "REGISTRY_PASSWORD"):
        monkeypatch.setenv(name, "of-the-job")
    await rig.ready(rig.target())
    state = json.loads(rig.podman.run("inspect", "sglang-ci-test-blue"))[0]["State"]
    for pid in (state["Pid"], state["ConmonPid"]):
        assert "of-the-job" not in psutil.Process(pid).environ().values()


async def test_a_container_may_share_the_host_s_network(rig: PodmanRig) -> None:
    """A server on the host's network listens elsewhere than the router is told."""
    target = replace(rig.target(), options=ContainerOptions(network="host"))
    seen = await rig.ready(target)
    assert await rig.answers(seen.address)


async def test_a_taken_port_is_told_and_nothing_is_left(rig: PodmanRig) -> None:
    """A container that could not be started blocks its slot."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        options = ContainerOptions(ports={BLUE: taken.getsockname()[1]})
        with pytest.raises(TargetFault, match="the port is taken"):
            await replace(rig.target(), options=options).start(BLUE, rig.release)
    assert (await rig.target().seen())[BLUE] == SlotSeen(BLUE)
    await rig.ready(rig.target())


async def test_a_container_of_that_name_is_not_taken_away(rig: PodmanRig) -> None:
    """A start that comes second removes the server that came first."""
    name = "sglang-ci-test-blue"
    rig.podman.run("run", "--detach", "--name", name, "--env=HOST=127.0.0.1", "--env=PORT=8000",
                   rig.release.reference)  # fmt: skip
    with pytest.raises(TargetFault, match="another start is under way"):
        await rig.target().start(BLUE, rig.release)
    assert name in rig.podman.run("ps", "--all", "--format", "{{.Names}}")


async def test_a_gpu_that_is_not_there_is_told(rig: PodmanRig) -> None:
    """A wrong index of a GPU reads as a bug of podman's."""
    options = ContainerOptions(gpus={BLUE: (7,)})
    with pytest.raises(TargetFault, match="no such GPU for containers"):
        await replace(rig.target(), options=options).start(BLUE, rig.release)


async def test_a_proof_is_not_that_of_a_server_started_again(rig: PodmanRig) -> None:
    """Somebody's `podman restart` gives a server that nobody has proven the proof of another."""
    target = rig.target()
    await rig.ready(target)
    await target.mark(BLUE)
    assert (await target.seen())[BLUE].proven
    rig.podman.run("restart", "--time", "1", "sglang-ci-test-blue")
    again = (await target.seen())[BLUE]
    assert (again.life, again.proven) == (Life.UP, False)


async def test_what_was_killed_is_seen_so(rig: PodmanRig) -> None:
    """A container that the kernel killed counts as ended by itself, or as up."""
    target = rig.target()
    await rig.ready(target)
    rig.podman.run("kill", "--signal", "KILL", "sglang-ci-test-blue")
    assert "SIGKILL" in (await seen_as(target, BLUE, Life.ENDED)).ended


async def test_an_exit_code_is_told(rig: PodmanRig) -> None:
    """A server that ended by itself is told by its last line alone."""
    target = rig.target(last_words="x")
    await target.start(BLUE, rig.release)
    assert (await seen_as(target, BLUE, Life.ENDED)).ended == "exit code 3: x"


async def test_containers_of_others_are_nobody_s_slot(rig: PodmanRig) -> None:
    """A deploy to one environment stops the server of another."""
    production = replace(rig.target(), environment="production")
    await rig.ready(production)
    assert await rig.target().seen() == {slot: SlotSeen(slot) for slot in SLOTS}
    assert await rig.target().stop(BLUE, 1) == ""
    assert (await production.seen())[BLUE].life is Life.UP


STARTER = """
import os, signal, sys, anyio, json
from pathlib import Path
from ci.deploy.targets.arguments import ContainerOptions
from ci.deploy.targets.container import ContainerTarget
from ci.deploy.targets.program import Program
from ci.deploy.world import Release
from ci.settings import Settings

folder, killed, release = json.loads(sys.argv[1])
host = ContainerOptions(network="host")  # a podman that is killed leaves no network behind
podman = Program("podman", "podman")
target = ContainerTarget(podman, "test", Path(folder), Settings(), options=host)
anyio.run(target.start, "blue", Release(**release))
if killed:
    os.kill(os.getpid(), signal.SIGKILL)
"""


def starter(rig: PodmanRig, *, killed: bool = False) -> subprocess.Popen[bytes]:
    """Start a slot's server by another process."""
    given = json.dumps([str(rig.folder), killed, vars(rig.release)])
    words = [sys.executable, "-c", STARTER, given]
    return subprocess.Popen(words, cwd=Path(__file__).parents[2], start_new_session=True)


@pytest.mark.parametrize("killed", [False, True])
async def test_a_container_survives_who_started_it(rig: PodmanRig, *, killed: bool) -> None:
    """A deployed server ends with the job that deployed it."""
    with starter(rig, killed=killed) as process:
        assert process.wait(HANG) == (-signal.SIGKILL if killed else 0)
    await said(rig.target(), BLUE, "fired up")
    seen = (await rig.target().seen())[BLUE]
    assert await rig.answers(seen.address)


@pytest.mark.parametrize("seconds", [0.7, 0.9, 1.0, 1.1, 1.3])
async def test_whenever_it_is_killed_nothing_unknown_is_left(
    rig: PodmanRig, seconds: float
) -> None:
    """There is a moment in which a killed deploy loses its container, or its slot."""
    with starter(rig) as process:
        await anyio.sleep(seconds)
        os.killpg(process.pid, signal.SIGKILL)
    await rig.target().start(BLUE, rig.release)
    await said(rig.target(), BLUE, "fired up")
    await rig.target().start(GREEN, rig.release)
    for slot in SLOTS:
        await rig.target().stop(slot, 5)
    assert rig.podman.run("ps", "--all", "--quiet") == ""
