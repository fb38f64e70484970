"""The target `container` without containers: what is asked of podman and docker, and its faults."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from ci.boot.model_files import Model
from ci.deploy.grounds import Grounds
from ci.deploy.targets.arguments import ContainerOptions, ContainerStart
from ci.deploy.targets.container import ContainerTarget
from ci.deploy.targets.inspected import Inspected, labels, mark_of, read_mark
from ci.deploy.targets.login import logged_in
from ci.deploy.targets.program import Program
from ci.deploy.world import SLOTS, Life, Release, SlotSeen
from ci.errors import SettingsError, TargetFault
from ci.platform.records import RESOURCE, resource
from ci.registry.access import Access
from ci.registry.reference import Reference
from ci.settings import ServerSettings, Settings
from ci.settings.load import load
from tests.unit.launching import program

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

RELEASE = Release(f"sha256:{'a' * 64}", f"host/name@sha256:{'a' * 64}", "0.5.23", "one")
DOCKER, PODMAN = Program("docker", "docker"), Program("podman", "podman")
Fake = Callable[[str], ContainerTarget]


@pytest.fixture
def fake(tmp_path: Path) -> Fake:
    """Return a function that puts a shell script in the place of podman."""

    def install(script: str) -> ContainerTarget:
        program(tmp_path / "podman", script)
        named = Program(str(tmp_path / "podman"), "podman")
        return ContainerTarget(named, "test", tmp_path / "slots", Settings())

    return install


START = ContainerStart(
    PODMAN,
    Settings(server=ServerSettings(flags=("--enable-metrics",))),
    ContainerOptions(gpus={"blue": (2, 3)}),
    *("sglang-ci-test-blue", "test", "blue"),
    RELEASE,
    30_123,
    None,
)


def pairs(start: ContainerStart) -> set[tuple[str, str]]:
    """Return each word of a start with the one behind it."""
    return set(pairwise(start.words()))


def test_gpus_are_given_by_their_indices() -> None:
    """A slot gets the GPUs of the other one, or none."""
    own = {("--device", "nvidia.com/gpu=2"), ("--device", "nvidia.com/gpu=3")}
    assert own <= pairs(START)
    assert ("--gpus", '"device=2,3"') in pairs(replace(START, program=DOCKER))
    assert not {"--gpus", "--device"} & set(replace(START, slot="green").words())


def test_a_port_is_published_on_the_server_s_host_alone() -> None:
    """A candidate that nobody has proven is open to the world."""
    assert ("--publish", "127.0.0.1:30123:30000") in pairs(START)
    assert START.address == "127.0.0.1:30123"
    six = replace(START, settings=Settings(server=ServerSettings(host="::1")))
    assert ("--publish", "[::1]:30123:30000") in pairs(six)
    assert six.address == "[::1]:30123"
    wide = replace(START, settings=Settings(server=ServerSettings(host="0.0.0.0")))
    assert wide.address == "127.0.0.1:30123"


def test_values_of_variables_stand_in_no_command_line() -> None:
    """Anybody on the machine reads a server's key in the list of processes."""
    server = ServerSettings(environment={"SGLANG_API_KEY": "hush", "PATH": "/opt/bin"})
    start = replace(START, settings=Settings(server=server))
    assert "hush" not in " ".join(start.words())
    assert ("--env", "SGLANG_API_KEY") in pairs(start)
    assert set(start.variables()) == {"SGLANG_API_KEY", RESOURCE}
    assert start.variables()["SGLANG_API_KEY"] == "hush"
    assert ("--env", "PATH=/opt/bin") in pairs(start)


def test_a_servers_log_tells_its_release() -> None:
    """Nobody knows which release a line of a container's log is of."""
    told = resource(START.variables()[RESOURCE])
    assert told == {k: v for k, v in RELEASE.labels(START.environment, START.slot).items() if v}
    assert ("--env", RESOURCE) in pairs(START)
    assert ("--env", "LOG_FORMAT=text") in pairs(START)
    assert ("--env", "START_METHOD=auto") in pairs(START)


def test_a_crash_is_not_hidden_by_a_restart() -> None:
    """A server that crashes is restarted without a proof, and keeps its traffic."""
    for start in (START, replace(START, program=DOCKER)):
        assert {("--restart", "no"), ("--pull", "never")} <= pairs(start)
        assert start.words()[-2:] == [RELEASE.reference, "--enable-metrics"]


def test_a_hub_s_model_comes_with_what_it_links_to() -> None:
    """A snapshot's files are links to blobs that aren't in the container."""
    path = Path("/cache/models--a--b/snapshots/1234")
    start = replace(START, model=Model(path, "a/b"))
    target = "/sglang-ci-model"
    mount = f"type=bind,source=/cache/models--a--b,target={target},readonly"
    assert ("--mount", mount) in pairs(start)
    assert ("--env", f"MODEL_PATH={target}/snapshots/1234") in pairs(start)


def test_what_stands_in_labels_is_read_back() -> None:
    """A slot is seen as running another release than it was started with."""
    given = dict(
        word.split("=", 1) for word in labels("test", "blue", "h:1", RELEASE) if word != "--label"
    )
    container = Inspected("id", given, {"Status": "running"})
    assert container.release == RELEASE
    assert container.label("address") == "h:1"


def test_a_mark_is_read_back() -> None:
    """A proof isn't found again."""
    assert read_mark(mark_of("2026-01-01T00:00:00.5Z")) == "2026-01-01T00:00:00.5Z"


@pytest.mark.parametrize(
    ("said", "cure"),
    [
        ("Cannot connect to the Docker daemon at unix:///var/run/docker.sock.", "start it"),
        ("permission denied while trying to connect: dial unix /run/docker.sock", "let this user"),
        ("write /var/lib/x: no space left on device", "make room where it keeps its images"),
        ("x509: certificate signed by unknown authority", "ca_file"),
        ("http: server gave HTTP response to HTTPS client", "plain_http"),
        ("reading manifest sha256:1: unauthorized: authentication required", "REGISTRY_USERNAME"),
        ("reading manifest sha256:1: manifest unknown", "promote it again"),
        ("Bind for 127.0.0.1:30000 failed: port is already allocated", "the port is taken"),
        ('could not select device driver "" with capabilities: [[gpu]]', "toolkit"),
        ("unresolvable CDI devices nvidia.com/gpu=7", "toolkit"),
        ("dial tcp: lookup host: no such host", "isn't reached from here"),
    ],
)
async def test_a_refusal_is_one_line_with_its_cure(fake: Fake, said: str, cure: str) -> None:
    """Whoever deploys reads a page of output, and has to guess."""
    target = fake(f"echo 'time=now level=warning' >&2; echo '{said}' >&2; exit 125")
    with pytest.raises(TargetFault, match=cure) as caught:
        await target.seen()
    assert said in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


async def test_a_program_that_is_missing_is_told(tmp_path: Path) -> None:
    """A host without podman is a bug of ours."""
    gone = Program(str(tmp_path / "podman"), "podman")
    target = ContainerTarget(gone, "test", tmp_path, Settings())
    with pytest.raises(TargetFault, match=r"can't be run \(No such file or directory\): install"):
        await target.seen()


async def test_a_program_that_hangs_is_ended(fake: Fake) -> None:
    """A daemon that hangs holds a deploy for ever."""
    with pytest.raises(TargetFault, match=r"took over 0\.2 s"):
        await fake("exec sleep 60").program.run("ps", seconds=0.2)


async def test_a_container_that_goes_meanwhile_is_absent(fake: Fake) -> None:
    """A look at the slots fails as somebody else takes one away."""
    target = fake(
        'case "$*" in ps*) echo abc;; *) echo "[]"; echo "Error: no such container" >&2; exit 125;;'
        " esac"
    )
    assert await target.seen() == {slot: SlotSeen(slot) for slot in SLOTS}


@pytest.mark.parametrize(
    ("state", "told"),
    [
        ({"ExitCode": 137, "OOMKilled": True}, "SIGKILL; killed for memory: its own limit"),
        ({"ExitCode": 137, "OOMKilled": False}, "SIGKILL; last words"),
        ({"ExitCode": 1, "OOMKilled": False}, "exit code 1: last words"),
    ],
)
async def test_an_end_is_told(fake: Fake, state: dict[str, object], told: str) -> None:
    """Nobody learns that a server ended for lack of memory."""
    about = {"Status": "exited", "StartedAt": "2026-01-01T00:00:00.123456789Z", **state}
    named = {"sglang-ci.slot": "blue", "sglang-ci.digest": "d", "sglang-ci.reference": "r"}
    document = json.dumps([{"Id": "abc", "Config": {"Labels": named}, "State": about}])
    target = fake(
        f"case \"$*\" in ps*) echo abc;; container*) echo '{document}';;"
        " logs*) echo last words;; *) echo no such file >&2; exit 1;; esac"
    )
    seen = (await target.seen())["blue"]
    assert (seen.life, seen.proven) == (Life.ENDED, False)
    assert seen.ended.startswith(told)


@pytest.mark.parametrize("named", [PODMAN, DOCKER])
def test_a_password_lies_there_for_one_pull_alone(tmp_path: Path, named: Program) -> None:
    """A registry's password is read by others, or stays on the host."""
    left = tmp_path / "login-of-a-killed-one"
    left.mkdir()
    (left / "config.json").touch()
    access = Access("ci", "hush")
    with logged_in(named, Reference("docker.io", "a/b"), access, tmp_path) as (flags, variables):
        file = Path(flags[-1]) if flags else Path(variables["DOCKER_CONFIG"]) / "config.json"
        assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)
        auths = json.loads(file.read_text())["auths"]
        assert base64.b64decode(auths["https://index.docker.io/v1/"]["auth"]) == b"ci:hush"
        assert "hush" not in " ".join(flags)
    assert list(tmp_path.iterdir()) == []


def test_a_registry_s_certificates_are_given_to_podman(tmp_path: Path) -> None:
    """A registry with a certificate of its own is refused."""
    file = tmp_path / "own.pem"
    file.write_text("certificate")
    access = Access(ca_file=file, plain_http=True)
    with logged_in(PODMAN, Reference("host", "a/b"), access, tmp_path) as (flags, _):
        assert flags[0] == "--tls-verify=false"
        assert (Path(flags[-1]) / "ca.crt").read_text() == "certificate"


def test_what_containers_get_of_their_machine_are_settings(tmp_path: Path) -> None:
    """GPUs, shared memory and the network can't be said, and `replace` asks for room for two."""
    text = """
    [environments.prod.deploy]
    target = "container"
    strategy = "replace"
    gpus = { blue = [0, 1], green = [2, 3] }
    shared_memory = "32g"
    network = "host"
    """
    (tmp_path / "sglang-ci.toml").write_text(text)
    target = Grounds.of(load(tmp_path / "sglang-ci.toml").settings, "prod").target
    assert isinstance(target, ContainerTarget)
    gpus = {"blue": (0, 1), "green": (2, 3)}
    assert target.options == ContainerOptions({}, gpus, "32g", "host", beside=False)


@pytest.mark.parametrize(
    "line",
    [
        "gpus = { red = [0] }",
        "gpus = { blue = [-1] }",
        'shared_memory = "8 g"',
    ],
)
def test_what_no_container_could_get_is_refused(tmp_path: Path, line: str) -> None:
    """A misspelt slot gets no GPU, and nobody is told."""
    (tmp_path / "sglang-ci.toml").write_text(f"[environments.prod.deploy]\n{line}\n")
    with pytest.raises(SettingsError, match=r"environments\.prod\.deploy"):
        load(tmp_path / "sglang-ci.toml")
