"""What `launch.sh` refuses before a server starts: each fault has its line and its code."""

from __future__ import annotations

import os
import re
import socket
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.rare import rare
from tests.unit.launching import HANG, LAUNCH, Place, make_place, program

pytestmark = pytest.mark.unit

Arrange = Callable[[Place, ExitStack], Place]
SOURCE = LAUNCH.read_text()
TABLE = {int(code) for code in re.findall(r"(?m)^#   (\d+)  \w", SOURCE)}
LINE = re.compile(r"launch\.sh: [^:]+: .+; .+\n")


@dataclass(frozen=True)
class Fault:
    """One way in which a start is refused.

    Args:
        code: The exit code.
        name: What is wrong.
        says: What the line must name.
        arrange: Makes it so.
    """

    code: int
    name: str
    says: str
    arrange: Arrange


def given(**variables: str) -> Arrange:
    """Arrange for settings; `{root}` stands for the place's folder."""

    def arrange(place: Place, _: ExitStack) -> Place:
        return place.having(**{k: v.format(root=place.root) for k, v in variables.items()})

    return arrange


def unset(*names: str) -> Arrange:
    """Arrange for an interpreter of bare bones, and for settings that aren't there."""

    def arrange(place: Place, _: ExitStack) -> Place:
        return place.having(PYTHON=str(place.root / "bin/bare-python")).lacking(*names)

    return arrange


def bare(**variables: str) -> Arrange:
    """Arrange for an interpreter of bare bones with further settings."""
    return lambda place, stack: unset()(place, stack).having(**variables)


def file(path: str, text: str | None = None, mode: int = 0o644) -> Arrange:
    """Arrange for a file (or where `text` is None, whatever is there) of that content and mode."""

    def arrange(place: Place, stack: ExitStack) -> Place:
        target = place.root / path
        if text is not None:
            target.write_text(text)
        target.chmod(mode)
        stack.callback(target.chmod, 0o755)
        return place.powerless()

    return arrange


def no_config(place: Place, _: ExitStack) -> Place:
    """Arrange for a model without `config.json`."""
    (place.model / "config.json").unlink()
    return place


def dangling_config(place: Place, _: ExitStack) -> Place:
    """Arrange for a hub's snapshot that was copied or mounted without its blobs."""
    (place.model / "config.json").unlink()
    (place.model / "config.json").symlink_to("../../blobs/none")
    return place


def taken_port(place: Place, stack: ExitStack) -> Place:
    """Arrange for a port on which this process listens."""
    listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    return place.having(PORT=str(listener.getsockname()[1]))


def privileged_port(place: Place, _: ExitStack) -> Place:
    """Arrange for a port that only root may open."""
    first = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
    if not first.exists() or int(first.read_text()) <= 1:
        pytest.skip("every user may open every port here")
    return place.having(PORT="1").powerless()


FAULTS = [
    Fault(64, "unknown device", "tpu", given(DEVICE="tpu")),
    Fault(64, "unknown log level", "loud", given(LOG_LEVEL="loud")),
    Fault(64, "unknown log format", "xml", given(LOG_FORMAT="xml")),
    Fault(64, "records without us", "has no sglang-ci", bare(LOG_FORMAT="json")),
    Fault(64, "unknown start method", "thread", given(START_METHOD="thread")),
    Fault(64, "forks on a GPU", "fork on a CPU alone", given(START_METHOD="fork", DEVICE="cuda")),
    Fault(64, "drain of words", "ten", given(DRAIN_SECONDS="ten")),
    Fault(64, "port of words", "http", given(PORT="http")),
    Fault(64, "port zero", "0", given(PORT="0")),
    Fault(64, "port too high", "65536", given(PORT="65536")),
    Fault(64, "log file in no folder", "/none/log", given(LOG_FILE="{root}/none/log")),
    Fault(64, "no model and no package", "bare-python", unset("MODEL_PATH")),
    Fault(65, "no model", "/none", given(MODEL_PATH="{root}/none")),
    Fault(65, "a file as model", "config.json", given(MODEL_PATH="{root}/model/config.json")),
    Fault(
        65,
        "a hub's name",
        "`sglang-ci fetch meta-llama/Llama-3.1-8B --revision REV`",
        given(MODEL_PATH="meta-llama/Llama-3.1-8B"),
    ),
    Fault(66, "unreadable folder", "/model", file("model", mode=0)),
    Fault(66, "unreadable config", "/config.json", file("model/config.json", mode=0)),
    Fault(66, "unreadable flags", "/launch.flags", file("model/launch.flags", "--a=b", 0)),
    Fault(67, "no config", "/model", no_config),
    Fault(67, "dangling config", "/model", dangling_config),
    Fault(67, "broken config", "line 1 column 2", file("model/config.json", "{")),
    Fault(68, "taken port", f"pid {os.getpid()} (", taken_port),
    Fault(69, "stranger's address", "192.0.2.1", given(HOST="192.0.2.1")),
    Fault(69, "privileged port", "127.0.0.1:1 ", privileged_port),
    Fault(70, "no GPU", "DEVICE=cpu", given(DEVICE="cuda")),
    Fault(71, "no interpreter", "/none/python", given(PYTHON="{root}/none/python")),
    Fault(71, "no sglang", sys.executable, unset("PYTHONPATH")),
    Fault(72, "older version", "0.5.23", given(EXPECTED_SGLANG_VERSION="0.5.22")),
    Fault(72, "pre-release", "0.5.23rc1", given(EXPECTED_SGLANG_VERSION="0.5.23rc1")),
    Fault(72, "local build", "0.5.23+ours", given(EXPECTED_SGLANG_VERSION="0.5.23+ours")),
    Fault(72, "no version at all", "latest", given(EXPECTED_SGLANG_VERSION="latest")),
    Fault(73, "cache under a file", "HF_HOME", given(HF_HOME="{root}/model/config.json/hub")),
    Fault(73, "read-only home", "/home/.cache", file("home", mode=0o555)),
]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A folder from which a server would start."""
    return make_place(tmp_path)


@pytest.mark.parametrize("fault", rare(FAULTS, 14), ids=lambda fault: f"{fault.code} {fault.name}")
def test_fault_has_its_line_and_code(place: Place, fault: Fault) -> None:
    """A caller can't tell what is wrong, or a server starts that can't work."""
    with ExitStack() as stack:
        done = fault.arrange(place, stack).run("--api-key=secret")
    assert (done.returncode, done.stdout) == (fault.code, "")
    assert LINE.fullmatch(done.stderr)
    assert fault.says in done.stderr


def test_every_code_is_documented_and_seen() -> None:
    """The header's table, the code and these tests name different exit codes."""
    used = {int(code) for code in re.findall(r"\brefuse[ (](\d+)\b", SOURCE)}
    assert TABLE == used == {fault.code for fault in FAULTS}


def test_earlier_check_speaks_first(place: Place) -> None:
    """Of several faults the one that hides the others isn't the one that is told."""
    with ExitStack() as stack:
        faulty = taken_port(place, stack)
        for code, setting in [
            (68, {}),
            (70, {"DEVICE": "cuda"}),
            (73, {"HF_HOME": "/dev/null/hub"}),
            (65, {"MODEL_PATH": "/none"}),
            (72, {"EXPECTED_SGLANG_VERSION": "0"}),
            (71, {"PYTHON": "/none"}),
            (64, {"DEVICE": "tpu"}),
        ]:
            faulty = faulty.having(**setting)
            assert faulty.run().returncode == code


def test_refusal_is_in_the_log_file(place: Place) -> None:
    """A prober that only sees the log never learns why no server started."""
    log = place.root / "log"
    done = place.having(LOG_FILE=str(log), DEVICE="cuda").run()
    assert done.returncode == 70
    first, told, last = log.read_text().splitlines(keepends=True)
    assert first.startswith("launch.sh began on ")
    assert told == done.stderr
    assert last == "launch.sh: server output ended\n"
    assert LINE.fullmatch(done.stderr)


@pytest.mark.parametrize("version", rare(["v0.5.23", "0.5.23", "0.5.23.0"]))
def test_equal_versions_start(place: Place, version: str) -> None:
    """Another spelling of the same version (PEP 440) is refused."""
    assert place.having(EXPECTED_SGLANG_VERSION=version).run().returncode == 0


def test_callers_port_is_the_one_that_is_checked(place: Place) -> None:
    """A port that the server won't use is checked in place of the one that it will."""
    with ExitStack() as stack:
        taken = taken_port(place, stack)
        assert taken.run("--port", place.environment["PORT"]).returncode == 0
        assert place.run(f"--port={taken.environment['PORT']}").returncode == 68


def test_port_in_time_wait_is_free(place: Place) -> None:
    """For a minute after a server's end its successor is refused."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            listener.accept()[0].close()
            assert client.recv(1) == b""
    assert place.having(PORT=str(port)).run().returncode == 0


def test_refusal_is_in_the_log_file_before_the_end(place: Place) -> None:
    """In a container nobody learns of it: the end of its first process takes the copying along."""
    log, late = place.root / "log", place.root / "bin/late-python"
    program(late, f'case "$*" in *ci.secrets.tee*) sleep 1 ;; esac\nexec {sys.executable} "$@"')
    place = place.having(LOG_FILE=str(log), DEVICE="cuda", PYTHON=str(late))
    with place.running() as process:
        assert process.wait(HANG) == 70
        _, told, last = log.read_text().splitlines()
    assert told.startswith("launch.sh: no GPU: ")
    assert last == "launch.sh: server output ended"
