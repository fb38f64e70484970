"""Targets by their contract: the fake, and this host's processes as they survive and are found."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import anyio
import psutil
import pytest

from ci.boot.belongings import marked
from ci.boot.port import members, reserved
from ci.deploy.targets import room
from ci.deploy.targets.process import ProcessTarget
from ci.deploy.targets.record import SlotRecord
from ci.deploy.world import SLOTS, Life, Release, SlotSeen
from ci.errors import TargetFault
from ci.settings import ImageSettings, ServerSettings, Settings
from tests.fakes.fake_target import FakeTarget
from tests.fakes.launched import VERSION, Plan, install
from tests.rare import rare
from tests.target_contract import BLUE, GREEN, HANG, Rig, TargetContract, said, seen_as
from tests.unit.launching import program

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

RELEASE = Release(f"sha256:{'a' * 64}", f"host/name@sha256:{'a' * 64}", VERSION, "one")


class FakeRig(Rig):
    """A target in memory."""

    release = RELEASE

    def __init__(self) -> None:
        self._target = FakeTarget()

    def target(self, *, deaf: bool = False, last_words: str = "") -> FakeTarget:
        """Return the one target, whose servers are like that from now on."""
        self._target.deaf, self._target.last_words = deaf, last_words
        return self._target

    async def answers(self, address: str) -> bool:
        """Return whether there is an address: nothing listens there."""
        return bool(address)


@dataclass
class ProcessRig(Rig):
    """This host, with a fake SGLang that the real `launch.sh` starts."""

    root: Path
    release: Release = RELEASE

    @property
    def folder(self) -> Path:
        """Keeps the slots."""
        return self.root / "slots"

    def target(self, *, deaf: bool = False, last_words: str = "") -> ProcessTarget:
        """Return the target whose servers are like that."""
        dies = 0.0 if last_words else -1.0
        return self.like(Plan(deaf=deaf, dies_after=dies, last_words=last_words))

    def like(self, plan: Plan) -> ProcessTarget:
        """Return the target whose servers do as a plan says."""
        place = self.root / f"sglang-{len(list(self.root.iterdir()))}"
        server = ServerSettings(device="cpu", environment=install(place, plan))
        image = ImageSettings(sglang_version=VERSION)
        return ProcessTarget(self.folder, Settings(server=server, image=image))

    def marked(self, slot: str = BLUE) -> list[int]:
        """Return the processes that have a slot's mark."""
        place = str(self.folder.resolve() / slot)
        return [pid for pid in psutil.pids() if marked(pid, place)]

    def pid(self, slot: str = BLUE) -> int:
        """Return the process that a slot's record names."""
        record = SlotRecord.read(self.folder / slot)
        assert record is not None
        assert record.birth is not None
        return record.birth.pid


@pytest.fixture
def host(tmp_path: Path) -> Iterator[ProcessRig]:
    """Yield a host, and leave nothing of it running."""
    rig = ProcessRig(tmp_path)
    yield rig
    for slot in SLOTS:
        for pid in rig.marked(slot):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


class TestFake(TargetContract):
    """The fake keeps what the real ones keep."""

    @pytest.fixture
    def rig(self) -> FakeRig:
        """Return a target in memory."""
        return FakeRig()


class TestProcess(TargetContract):
    """Processes of this host."""

    @pytest.fixture
    def rig(self, host: ProcessRig) -> ProcessRig:
        """Return this host."""
        return host


STARTER = """
import os, signal, sys, anyio, json
from pathlib import Path
from ci.deploy.targets import process
from ci.deploy.world import Release
from ci.settings import Settings

given = json.loads(sys.argv[1])
target = process.ProcessTarget(Path(given["folder"]), Settings.model_validate(given["settings"]))
plain = process.spawn

async def cut(*arguments):
    if given["killed"] == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    await plain(*arguments)
    os.kill(os.getpid(), signal.SIGKILL)

if given["killed"]:
    process.spawn = cut
anyio.run(target.start, "blue", Release(**given["release"]))
"""


def starter(rig: ProcessRig, killed: str = "") -> subprocess.Popen[bytes]:
    """Start a slot's server by another process, which may be killed in the middle."""
    target = rig.target()
    given = {
        "folder": str(rig.folder),
        "settings": target.settings.model_dump(mode="json"),
        "release": vars(rig.release),
        "killed": killed,
    }
    words = [sys.executable, "-c", textwrap.dedent(STARTER), json.dumps(given)]
    return subprocess.Popen(words, cwd=Path(__file__).parents[2])


def waited(process: subprocess.Popen[bytes]) -> int:
    """Return the exit code of a process."""
    with process:
        return process.wait(HANG)


async def test_a_server_survives_who_started_it(host: ProcessRig) -> None:
    """A deployed server ends with the job that deployed it."""
    assert waited(starter(host)) == 0
    server = psutil.Process(host.pid())
    assert os.getsid(server.pid) == os.getpgid(server.pid) == server.pid
    await said(host.target(), BLUE, "fired up")
    seen = (await host.target().seen())[BLUE]
    assert (seen.life, seen.release) == (Life.UP, RELEASE)
    assert await host.answers(seen.address)
    assert "SIGTERM" in await host.target().stop(BLUE, 10)
    assert host.marked() == []


def groups(pids: Iterable[int]) -> set[int]:
    """Return the process groups of those that still run: a server with its children is one."""
    found = set()
    for pid in pids:
        with suppress(ProcessLookupError):
            found.add(os.getpgid(pid))
    return found


async def test_a_server_whose_start_was_cut_off_is_found(host: ProcessRig) -> None:
    """A deploy that was killed leaves a server that nobody knows, and starts a second one."""
    assert waited(starter(host, "after")) == -signal.SIGKILL
    record = SlotRecord.read(host.folder / BLUE)
    assert record is not None
    assert record.birth is None
    first = (await host.target().seen())[BLUE]
    assert (first.life, first.release) == (Life.UP, RELEASE)
    before = groups(host.marked())
    await host.target().start(BLUE, RELEASE)
    assert groups(host.marked()) == before
    assert len(before) == 1
    await host.target().mark(BLUE)
    assert (await host.target().seen())[BLUE] == replace(first, proven=True)
    await host.target().stop(BLUE, 10)
    assert host.marked() == []


async def test_a_start_that_was_cut_off_before_it_is_repeated(host: ProcessRig) -> None:
    """What was only intended counts as running, or blocks its slot."""
    assert waited(starter(host, "before")) == -signal.SIGKILL
    seen = (await host.target().seen())[BLUE]
    assert (seen.life, seen.ended) == (Life.ENDED, "its start was cut off before anything ran")
    await host.target().start(BLUE, RELEASE)
    assert (await host.target().seen())[BLUE].life is Life.UP


@pytest.mark.parametrize("seconds", rare([0.6, 0.8, 0.9, 1.0, 1.1, 1.3], 2))
async def test_whenever_it_is_killed_nothing_unknown_is_left(
    host: ProcessRig, seconds: float
) -> None:
    """There is a moment in which a killed deploy loses its server."""
    with starter(host) as process:
        time.sleep(seconds)  # noqa: ASYNC251 - another process is what takes the time
        process.kill()
    seen = (await host.target().seen())[BLUE]
    assert bool(host.marked()) == (seen.life is Life.UP)
    await host.target().start(BLUE, RELEASE)
    assert (await host.target().seen())[BLUE].life is Life.UP
    await host.target().stop(BLUE, 10)
    assert host.marked() == []
    assert not (host.folder / BLUE).exists()


async def test_a_reused_process_id_is_nobody_s_server(host: ProcessRig) -> None:
    """A stranger is taken for the server, and killed in its place."""
    target = host.target()
    await target.start(BLUE, RELEASE)
    folder = host.folder / BLUE
    record = SlotRecord.read(folder)
    assert record is not None
    assert record.birth is not None
    os.kill(record.birth.pid, signal.SIGKILL)
    stranger = await anyio.open_process(["sleep", "60"], start_new_session=True)
    async with stranger:
        birth = replace(record.birth, pid=stranger.pid, ticks=record.birth.ticks - 1)
        replace(record, birth=birth).write(folder)
        assert (await target.seen())[BLUE].life is Life.ENDED
        await target.stop(BLUE, 5)
        assert stranger.returncode is None
        stranger.kill()


async def test_a_restarted_machine_runs_nothing(host: ProcessRig) -> None:
    """After a power cut a slot counts as up, as something else has its process id."""
    target = host.target()
    await target.start(BLUE, RELEASE)
    record = SlotRecord.read(host.folder / BLUE)
    assert record is not None
    assert record.birth is not None
    replace(record, birth=replace(record.birth, boot="another")).write(host.folder / BLUE)
    seen = (await target.seen())[BLUE]
    assert (seen.life, seen.ended) == (Life.ENDED, "this machine was started anew")


async def test_the_whole_group_goes_with_its_server(host: ProcessRig) -> None:
    """SGLang's detokenizer stays behind and keeps the port or GPU memory."""
    target = host.like(Plan(child=True))
    await target.start(BLUE, RELEASE)
    await said(target, BLUE, "fired up")
    group = host.pid()
    told = await target.stop(BLUE, 10)
    assert "after SIGTERM; killed after it: " in told
    assert members(group) == []


async def test_orphans_of_a_dead_server_are_taken_away(host: ProcessRig) -> None:
    """A new server meets what a killed one left behind."""
    target = host.like(Plan(child=True))
    await target.start(BLUE, RELEASE)
    await said(target, BLUE, "fired up")
    group = host.pid()
    os.kill(group, signal.SIGKILL)
    await seen_as(target, BLUE, Life.ENDED)
    assert members(group) != []
    await target.start(BLUE, RELEASE)
    assert members(group) == []


async def test_a_job_s_end_and_its_secrets_are_not_the_server_s(
    host: ProcessRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Jenkins or GitHub's runner kills the server with its job, or it keeps a release's key."""
    for name in ("BUILD_ID", "JENKINS_NODE_COOKIE", "RUNNER_TRACKING_ID", "REGISTRY_PASSWORD"):
        monkeypatch.setenv(name, "of-the-job")
    target = host.target()
    await target.start(BLUE, RELEASE)
    await said(target, BLUE, "fired up")  # a process that still calls execve shows no environment
    environ = psutil.Process(host.pid()).environ()
    assert "of-the-job" not in environ.values()
    assert environ["JENKINS_NODE_COOKIE"] == "dontKillMe"


async def test_the_server_holds_its_port_s_lock_while_it_loads(host: ProcessRig) -> None:
    """Another run of ours takes the port of a server that still loads its model."""
    target = host.like(Plan(open_after=30))
    await target.start(BLUE, RELEASE)
    port = int((await target.seen())[BLUE].address.rpartition(":")[2])
    with reserved("127.0.0.1", 0) as other:
        assert other != port
    await target.stop(BLUE, 10)


async def test_a_slot_may_have_its_own_port(host: ProcessRig) -> None:
    """A router that was configured beforehand looks at another port."""
    with reserved("127.0.0.1", 0) as port:
        pass
    target = replace(host.target(), ports={GREEN: port})
    await target.start(GREEN, RELEASE)
    assert (await target.seen())[GREEN].address == f"127.0.0.1:{port}"


async def test_a_taken_port_is_told(host: ProcessRig) -> None:
    """Two servers meet on a port, and nobody says so."""
    target = host.target()
    await target.start(BLUE, RELEASE)
    await said(target, BLUE, "fired up")
    port = int((await target.seen())[BLUE].address.rpartition(":")[2])
    other = replace(target, ports={GREEN: port})
    await other.start(GREEN, RELEASE)
    assert "port taken" in (await seen_as(other, GREEN, Life.ENDED)).ended


async def test_what_is_not_installed_is_not_fetched(host: ProcessRig) -> None:
    """Another version than the release's is started, after the old server was stopped."""
    with pytest.raises(TargetFault, match=r"9\.9\.9, and this host has .*PYTHON"):
        await host.target().fetch(replace(RELEASE, version="9.9.9"))
    assert await host.target().seen() == {slot: SlotSeen(slot) for slot in SLOTS}


@pytest.mark.long
async def test_room_is_looked_for_where_a_server_will_be_started(
    host: ProcessRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A deploy begins that can't end, or one that was cut off can't be resumed."""
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Memory", (), {"available": 1}))
    target, other = host.target(), replace(RELEASE, deployment="another")
    await target.fetch(other)
    await target.start(BLUE, RELEASE)
    with pytest.raises(TargetFault, match="two servers don't fit"):
        await target.fetch(other)
    await replace(target, beside=False).fetch(other)
    await target.start(GREEN, other)
    await target.fetch(other)


async def test_a_slot_is_changed_by_one_at_a_time(host: ProcessRig) -> None:
    """Two deploys start two servers in one slot."""
    target = host.like(Plan(deaf=True))
    await target.start(BLUE, RELEASE)
    await said(target, BLUE, "fired up")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(target.stop, BLUE, 1)
        await anyio.sleep(0.3)
        with pytest.raises(TargetFault, match="another process is at work on blue"):
            await host.target().start(BLUE, RELEASE)


async def test_a_folder_that_can_not_be_written_is_told(tmp_path: Path) -> None:
    """A full disk is a bug of ours."""
    (tmp_path / "file").touch()
    target = ProcessTarget(tmp_path / "file/slots", Settings())
    with pytest.raises(TargetFault, match="Not a directory: make room there"):
        await target.start(BLUE, RELEASE)


async def test_a_spoilt_record_is_told(host: ProcessRig) -> None:
    """A record that somebody has edited makes a slot look empty."""
    (host.folder / BLUE).mkdir(parents=True)
    (host.folder / BLUE / "slot.json").write_text('{"release": 1}')
    with pytest.raises(TargetFault, match=r"slot\.json isn't what a start writes"):
        await host.target().seen()


async def test_two_last_logs_are_kept(host: ProcessRig) -> None:
    """Logs of servers that are gone fill the disk, or the last one is lost."""
    for words in ("first words", "second words", "third words"):
        target = host.target(last_words=f"RuntimeError: {words}")
        await target.start(BLUE, RELEASE)
        await seen_as(target, BLUE, Life.ENDED)
        await target.stop(BLUE, 1)
    kept = {path.name: path.read_text() for path in host.folder.glob("blue.last*")}
    assert "third" in kept.pop("blue.last.log")
    assert "second" in kept.pop("blue.last.log.1")
    assert kept == {}


def test_a_full_disk_is_seen_before_anything_is_stopped(tmp_path: Path) -> None:
    """A deploy stops the old server, and can't start the new one."""
    room.disk(tmp_path / "to/be/made", 1)
    with pytest.raises(TargetFault, match="are needed: make room"):
        room.disk(tmp_path / "to/be/made", 1e18)


async def test_a_second_server_has_to_fit_its_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second copy dies for GPU memory, and may take the first one along."""
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    _driver(tmp_path, free=5000)
    await room.beside([os.getpid()])
    _driver(tmp_path, free=4000)
    with pytest.raises(TargetFault, match=r"GPU GPU-0 has 4\.2 GB .* takes 4\.7 GB"):
        await room.beside([os.getpid()])
    await room.beside([os.getpid()], gpu=False)


def _driver(folder: Path, *, free: int) -> None:
    """Put an nvidia-smi there, by which this process has 4500 MiB of one of two GPUs."""
    program(
        folder / "nvidia-smi",
        f'case "$*" in *memory.free*) echo "GPU-0, {free}"; echo "GPU-1, 1";;'
        f' *) echo "GPU-0, {os.getpid()}, 3000"; echo "GPU-0, {os.getpid()}, 1500";'
        f' echo "GPU-1, 1, 9000";; esac',
    )


async def test_a_second_server_has_to_fit_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel kills the server that has all traffic, for the one beside it."""
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Memory", (), {"available": 1}))
    with pytest.raises(TargetFault, match=r"this machine has 0\.0 GB"):
        await room.beside([os.getpid()])
