"""The server's processes: found by role, hurt, and counted when they are left behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import anyio
import httpx
import psutil
import pytest

from ci.errors import CheckBroken, UsageError
from ci.health import agent as agents
from ci.health.targets import AgentTarget, FaultTarget, HostTarget, ProcessState, role_of

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

HANG = 20.0
CHILDREN = """
for role in scheduler_TP0 detokenizer; do (exec -a "sglang::$role" sleep 60) & done
trap 'exit 7' TERM
while :; do sleep 0.05; done
"""
SERVER = ("bash", "-c", CHILDREN, "sglang.launch_server")
"""Has SGLang's children by their titles, and leaves them behind on SIGTERM."""


@pytest.mark.parametrize(
    ("title", "role"),
    [
        ("sglang::scheduler", "scheduler"),
        ("sglang::scheduler_TP1", "scheduler"),
        ("sglang::detokenizer", "detokenizer"),
        ("python -m sglang.launch_server --port 1", "parent"),
        ("/venv/bin/python /venv/bin/sglang serve --port 1", "parent"),
        ("/venv/bin/python /venv/bin/sglang-ci serve", "other"),
        ("bash /work/sglang/launch.sh serve", "other"),
        ("python -c from multiprocessing.resource_tracker import main", "other"),
        ("", "other"),
    ],
)
def test_roles(title: str, role: str) -> None:
    """The wrong process is hurt."""
    assert role_of(title) == agents.role_of(title) == role


@pytest.fixture
def host() -> Iterator[HostTarget]:
    """A server on this host."""
    with subprocess.Popen(SERVER, start_new_session=True) as process:
        try:
            wait_for(lambda: len(titled(process.pid)) == 2)
            yield HostTarget("http://server", process.pid, process.poll)
        finally:
            os.killpg(process.pid, signal.SIGKILL)


@pytest.fixture
def contained(tmp_path: Path) -> Iterator[AgentTarget]:
    """A server beside a fault agent, which has nothing but Python."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    file = tmp_path / "agent.py"
    file.write_text(Path(agents.__file__).read_text())
    command = [sys.executable, "-IS", str(file), "--host", "127.0.0.1", "--port", str(port)]
    with subprocess.Popen([*command, "--linger", "30", "--", *SERVER]) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            wait_for(lambda: answers(url))
            yield AgentTarget("http://server", url)
            httpx.post(f"{url}/end", trust_env=False)
            assert process.wait(HANG) == 7
        finally:
            process.kill()


def titled(pid: int) -> dict[str, psutil.Process]:
    """Return the children that have SGLang's titles, by role."""
    found = {}
    for child in psutil.Process(pid).children():
        with suppress(psutil.NoSuchProcess):
            found[role_of(" ".join(child.cmdline()))] = child
    return {role: found[role] for role in found.keys() & {"scheduler", "detokenizer"}}


def wait_for(done: Callable[[], bool]) -> None:
    """Wait until something is so."""
    end = time.monotonic() + HANG
    while not done():
        assert time.monotonic() < end
        time.sleep(0.02)


def answers(url: str) -> bool:
    """Return whether an agent sees all of the server."""
    try:
        state = httpx.get(f"{url}/state", trust_env=False).json()
    except httpx.TransportError:
        return False
    return len(state["processes"]) >= 4


async def until(target: FaultTarget, done: Callable[[ProcessState], bool]) -> ProcessState:
    """Return the first state in which something is so."""
    with anyio.fail_after(HANG):
        while not done(state := await target.state()):
            await anyio.sleep(0.02)
    return state


def roles(state: ProcessState) -> set[str]:
    """Return the roles of the living processes."""
    return {role for role, _ in state.processes}


@pytest.fixture(params=["host", "contained"])
def target(request: pytest.FixtureRequest) -> FaultTarget:
    """One contract for both ways in which a server's processes are reached."""
    found: FaultTarget = request.getfixturevalue(request.param)
    return found


async def test_server_is_hurt_and_its_end_is_told(target: FaultTarget) -> None:
    """A fault isn't brought about, or a server's exit code or orphans are not seen."""
    state = await until(target, lambda seen: {"scheduler", "detokenizer"} <= roles(seen))
    assert (state.running, state.exit_code) == (True, None)
    await target.send("scheduler", signal.SIGKILL)
    await until(target, lambda seen: "scheduler" not in roles(seen))
    with pytest.raises(CheckBroken):
        await target.send("scheduler", signal.SIGKILL)
    await target.send("parent", signal.SIGTERM)
    state = await until(target, lambda seen: not seen.running)
    assert state.exit_code == 7
    assert "detokenizer" in roles(state)


async def test_process_stops_and_goes_on(host: HostTarget) -> None:
    """A server that is to hang works on, or stays hung after the check."""
    hurt = titled(host.pid)["detokenizer"]
    await host.send("detokenizer", signal.SIGSTOP)
    wait_for(lambda: hurt.status() == psutil.STATUS_STOPPED)
    await host.send("detokenizer", signal.SIGCONT)
    wait_for(lambda: hurt.status() != psutil.STATUS_STOPPED)


def test_strangers_are_not_hurt() -> None:
    """A wrong --pid ends somebody's shell."""
    with pytest.raises(UsageError, match="no SGLang server"):
        HostTarget("http://server", os.getpid())
    with pytest.raises(UsageError, match="pid 4194304"):
        HostTarget("http://server", 4_194_304)


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(404, json={"pid": None}),
        httpx.Response(400, json={}),
        httpx.Response(200, content=b"no json"),
    ],
    ids=["no such process", "bad request", "no agent"],
)
async def test_faults_of_the_agent_are_no_fault_of_the_server(answer: httpx.Response) -> None:
    """A fault that did not come about fails the server."""
    transport = httpx.MockTransport(lambda _: answer)
    with pytest.raises(CheckBroken, match="fault agent at"):
        await AgentTarget("http://s", "http://a", transport).send("scheduler", signal.SIGSTOP)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"[]", 400),
        (b'{"role": "scheduler"}', 400),
        (b'{"role": "scheduler", "signal": "SIGSEGV"}', 400),
        (b'{"role": "nobody", "signal": "SIGSTOP"}', 404),
    ],
)
def test_agent_refuses_nonsense(contained: AgentTarget, body: bytes, status: int) -> None:
    """A bad request ends the agent, or hurts what it should not."""
    with httpx.Client(base_url=contained.agent, trust_env=False) as client:
        assert client.post("/signal", content=body).status_code == status
        assert client.get("/nothing").status_code == 404
        asked = {"role": "parent", "signal": "SIGTERM"}
        assert client.post("/signal", json=asked).status_code == 200
