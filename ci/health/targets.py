"""The server that a check hurts: its URL, its processes, and how signals reach them.

On this host that is its process's pid; in a container a fault agent (`ci.health.agent`).
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import httpx
import psutil

from ci.boot.launch import is_sglang
from ci.errors import CheckBroken, SglangCiError, UsageError
from ci.secrets.veil import beginning
from ci.server.door import Door
from ci.server.exchange import Exchange, Json

ROLES = {
    "sglang::scheduler": "scheduler",
    "sglang::detokenizer": "detokenizer",
}
"""How the titles of SGLang's children begin (`setproctitle`), to their role."""
AGENT_SECONDS = 30.0
"""Most seconds for one answer of a fault agent; killing a large server takes some."""


@dataclass(frozen=True)
class ProcessState:
    """What is seen of a server's processes.

    Args:
        running: Whether the process that was started still runs.
        exit_code: Its exit code once it has ended; None where that can't be known.
        processes: Each living one's role and title.
    """

    running: bool
    exit_code: int | None
    processes: tuple[tuple[str, str], ...]


def role_of(title: str) -> str:
    """Return a process's role by its command line: `parent`, a child's, or `other`.

    The agent has the same, as it stands alone.
    """
    told = (role for start, role in ROLES.items() if title.startswith(start))
    return next(told, "parent" if is_sglang(title.split()) else "other")


class FaultTarget(Protocol):
    """A server that can be hurt."""

    @property
    def url(self) -> str:
        """Its base URL."""

    async def send(self, role: str, number: signal.Signals) -> None:
        """Send a signal to the oldest process of a role.

        Raises:
            CheckBroken: There is none.
        """

    async def state(self) -> ProcessState:
        """Return what is seen of its processes."""


@dataclass
class HostTarget:
    """A server on this host.

    Args:
        url: Its base URL.
        pid: Of its parent process.
        exit_code: Returns the parent's exit code, where this process started it.
    """

    url: str
    pid: int
    exit_code: Callable[[], int | None] | None = None
    _seen: dict[int, psutil.Process] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Look at its processes while they have a parent to be found by.

        Raises:
            UsageError: There is no such process, or it is no SGLang server.
        """
        try:
            parent = psutil.Process(self.pid)
            title = " ".join(parent.cmdline())
        except psutil.Error as error:
            raise UsageError(f"pid {self.pid}: {error}") from error
        if role_of(title) != "parent":
            raise UsageError(f"pid {self.pid} is no SGLang server: {beginning(title, 80)}")
        self._seen[self.pid] = parent
        self._look()

    async def send(self, role: str, number: signal.Signals) -> None:
        """Send a signal to the oldest process of a role."""
        for process in self._living():
            if role_of(_title(process)) == role:
                process.send_signal(number)
                return
        raise CheckBroken(f"{self.url} has no process of the role {role} to send {number.name} to")

    async def state(self) -> ProcessState:
        """Return what is seen of its processes, those whose parent has died included."""
        living = self._living()
        found = tuple((role_of(_title(one)), _title(one)) for one in living)
        if self.exit_code:
            code = self.exit_code()
            return ProcessState(code is None, code, found)
        return ProcessState(any(process.pid == self.pid for process in living), None, found)

    def _look(self) -> None:
        try:
            for child in self._seen[self.pid].children(recursive=True):
                self._seen.setdefault(child.pid, child)
        except psutil.Error:
            return

    def _living(self) -> list[psutil.Process]:
        self._look()
        return sorted((one for one in self._seen.values() if _lives(one)), key=_age)


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def _age(process: psutil.Process) -> tuple[float, int]:
    return (process.create_time(), process.pid)


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline()).strip()
    except psutil.Error:
        return ""


@dataclass
class AgentTarget:
    """A server in a container, beside a fault agent.

    Args:
        url: The server's base URL.
        agent: The agent's.
        transport: Another transport, for tests.
    """

    url: str
    agent: str
    transport: httpx.AsyncBaseTransport | None = None

    async def send(self, role: str, number: signal.Signals) -> None:
        """Have the agent send a signal to the oldest process of a role."""
        await self._ask("POST", "/signal", {"role": role, "signal": number.name})

    async def state(self) -> ProcessState:
        """Return what the agent sees of the server's processes."""
        seen = await self._ask("GET", "/state")
        found = tuple((one["role"], one["title"]) for one in seen["processes"])
        return ProcessState(seen["running"], seen["exit_code"], found)

    async def restart(self) -> None:
        """Have the agent kill what is left of the server, and start it anew."""
        await self._ask("POST", "/restart")

    async def _ask(self, method: str, path: str, body: object = None) -> Json:
        door = Door(self.agent, AGENT_SECONDS)
        try:
            async with Exchange(door, door.client(transport=self.transport)) as agent:
                return agent.object_of(path, await agent.ask(method, path, body))
        except SglangCiError as error:
            raise CheckBroken(f"fault agent at {error}") from error
